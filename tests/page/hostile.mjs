// Pages of hostile texts: they are shown, and nothing of them is carried out.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { open, texts, withBrowser } from "./browser.mjs";

// Pairs of a page and a JSON file: {"plain": texts that stand there without JavaScript, "all": with it}.
const pages = process.argv.slice(2);

const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u;

async function harmless(page, incidents) {
  assert.deepEqual(incidents, []);
  // The page's own elements and no others.
  const strange = await page.evaluate(() => [...document.querySelectorAll("*")].filter((one) =>
    ["IMG", "IFRAME", "OBJECT", "EMBED", "FORM", "BASE", "B-OGUS", "VIDEO", "AUDIO", "MATH"].includes(one.tagName) ||
    [...one.attributes].some(({ name, value }) => name.startsWith("on") || /^\s*javascript:/i.test(value)))
    .map((one) => one.outerHTML));
  assert.deepEqual(strange, []);
  const counts = await page.evaluate(() => ["script", "style", "title", "meta", "link"]
    .map((name) => document.getElementsByTagName(name).length));
  assert.deepEqual(counts, [2, 1, 1, 6, 1]);
}

function expectAll(shown, expected) {
  const missing = expected.filter((text) => !shown.includes(text));
  assert.deepEqual(missing, [], "texts that are not on the page");
  assert.equal(UNSAFE.exec(shown), null);
}

await withBrowser(async (browser) => {
  for (let place = 0; place < pages.length; place += 2) {
    const [file, expected] = [pages[place], JSON.parse(readFileSync(pages[place + 1], "utf8"))];
    assert.ok(expected.plain.length > 10);

    const still = await open(browser, file, { javaScriptEnabled: false });
    expectAll(await texts(still.page), expected.plain);
    await harmless(still.page, still.incidents);

    // With JavaScript: everything that can be opened, chosen, ordered and searched.
    const { page, incidents } = await open(browser, file);
    for (const button of await page.locator("button.open").all()) await button.click();
    expectAll(await texts(page), expected.all);
    for (const button of await page.locator("button.sort").all()) {
      await button.click();
      await button.click();
    }
    for (const select of await page.locator(".tools select").all()) {
      for (const value of await select.locator("option").evaluateAll((all) => all.map((one) => one.value))) {
        await select.selectOption(value);
      }
      await select.selectOption("");
    }
    for (const text of expected.plain.slice(0, 5)) {
      await page.getByRole("searchbox", { name: "Search" }).fill(text);
      await page.waitForTimeout(50);
    }
    await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
    assert.equal(await page.evaluate(() => window.canary), undefined);
    await harmless(page, incidents);
    console.log(`${expected.plain.length} texts without and ${expected.all.length} with JavaScript`);
  }
});
