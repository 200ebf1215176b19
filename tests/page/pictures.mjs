// Pictures of pages: node pictures.mjs FOLDER NAME FILE [NAME FILE]...
import { join } from "node:path";
import { open, withBrowser } from "./browser.mjs";

const [folder, ...pages] = process.argv.slice(2);

await withBrowser(async (browser) => {
  for (let place = 0; place < pages.length; place += 2) {
    const [name, file] = [pages[place], pages[place + 1]];
    for (const colorScheme of ["light", "dark"]) {
      for (const [width, height] of [[1440, 900], [390, 844]]) {
        const options = { colorScheme, viewport: { width, height }, deviceScaleFactor: 1, reducedMotion: "reduce" };
        const { page } = await open(browser, file, options);
        const to = (part) => join(folder, `${name}-${part}-${colorScheme}-${width}.png`);
        await page.screenshot({ path: to("top") });
        await page.screenshot({ path: to("whole"), fullPage: true });
        for (const part of ["charts", "all"]) {
          const one = page.locator(`.${part}`);
          if ((await one.count()) === 0) continue;
          // A row's details belong to the table's picture.
          const details = page.locator("button.open");
          if (part === "all" && (await details.count()) > 5) await details.nth(5).click();
          await one.evaluate((section) => section.scrollIntoView());
          await page.screenshot({ path: to(part) });
        }
        await page.context().close();
      }
    }
  }
});
