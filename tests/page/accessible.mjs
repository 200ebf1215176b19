// axe-core over pages, light and dark, wide and narrow, folded and unfolded.
import assert from "node:assert/strict";
import { AXE, open, withBrowser } from "./browser.mjs";

await withBrowser(async (browser) => {
  for (const file of process.argv.slice(2)) {
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [1440, 390]) {
        // The policy forbids what axe-core does, as it should.
        const options = { colorScheme, viewport: { width, height: 900 }, bypassCSP: true };
        const { page } = await open(browser, file, options);
        await page.evaluate(() => {
          for (const each of document.querySelectorAll("details")) each.open = true;
          document.querySelector("button.open")?.click();
        });
        await page.evaluate(AXE);
        const { violations, passes } = await page.evaluate(() => axe.run(document));
        const found = violations.map(({ id, help, nodes }) =>
          `${id}: ${help}\n${nodes.slice(0, 5).map((node) => `  ${node.html}\n  ${node.failureSummary}`).join("\n")}`);
        assert.equal(found.length, 0, `${file}, ${colorScheme}, ${width}:\n${found.join("\n")}`);
        // What looked at nothing finds nothing.
        assert.ok(passes.length > 15, `only ${passes.length} rules applied`);
        assert.ok(passes.some((rule) => rule.id === "color-contrast"));
        await page.context().close();
      }
    }
  }
});
