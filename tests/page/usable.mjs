// A report's page in hands: search, order, filters, details, keyboard, paper, small screens, no script.
import assert from "node:assert/strict";
import { column, open, texts, withBrowser } from "./browser.mjs";

const [file] = process.argv.slice(2);

const results = (page) => page.locator(".results").innerText();
const focused = (page) =>
  page.evaluate(() => {
    const one = document.activeElement;
    const style = getComputedStyle(one);
    return {
      name: one.getAttribute("aria-label") ?? one.closest("label")?.firstChild.data ?? one.innerText.trim(),
      tag: one.tagName,
      outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    };
  });

await withBrowser(async (browser) => {
  const { page, incidents } = await open(browser, file);
  const all = await page.locator("table.data tbody tr").count();
  const total = await results(page);
  assert.match(total, /^\d+ containers$/);
  assert.equal(Number.parseInt(total, 10), all);

  // Search: every word, whatever its case, in any column, the folded ones too.
  const search = page.getByRole("searchbox", { name: "Search" });
  await search.fill("PAYMENTS gateway");
  await page.waitForFunction(() => document.querySelector(".results").textContent.includes(" of "));
  const matching = await page.locator("table.data tbody tr").allInnerTexts();
  assert.ok(matching.length > 0 && matching.length < all);
  assert.ok(matching.every((row) => /payments/.test(row) && /gateway/.test(row)), matching.join("\n"));
  await search.fill("no such thing");
  await page.getByText("No container matches.").waitFor();
  await search.fill("linux/arm64");
  await page.waitForFunction(() => /^[1-9]\d* of /.test(document.querySelector(".results").textContent));
  await page.getByRole("button", { name: "Show all" }).click();
  assert.equal(await results(page), total);
  assert.equal((await focused(page)).name, "Search");

  // Filters, alone and with search.
  const filter = page.getByRole("combobox", { name: "Support", exact: true });
  const option = (await filter.locator("option").allTextContents()).find((name) => name.startsWith("ended "));
  const ended = Number(/\((\d+)\)/.exec(option)[1]);
  await filter.selectOption({ label: option });
  assert.equal(await results(page), `${ended} of ${total}`);
  assert.deepEqual(new Set(await column(page, "Support")), new Set(["ended"]));
  const pod = (await column(page, "Pod"))[0];
  await search.fill(pod);
  await page.waitForFunction((total) => document.querySelector(".results").textContent === `1 of ${total}`, total);
  assert.deepEqual(await column(page, "Pod"), [pod]);
  await search.fill("debian");
  await page.getByText("No container matches.").waitFor();
  await page.getByRole("button", { name: "Show all" }).click();

  // Order: up, down, and as it was; numbers in names as numbers; by support the worst first.
  const before = await column(page, "Image");
  const order = page.getByRole("button", { name: "Image", exact: true });
  const sort = () => page.locator("th", { has: order }).getAttribute("aria-sort");
  await order.click();
  const up = await column(page, "Image");
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  assert.deepEqual(up, [...before].sort(collator.compare));
  assert.equal(await sort(), "ascending");
  await order.click();
  assert.equal(await sort(), "descending");
  assert.equal((await column(page, "Image"))[0], up.at(-1));
  await order.click();
  assert.equal(await sort(), null);
  assert.deepEqual(await column(page, "Image"), before);
  await page.getByRole("button", { name: "Support", exact: true }).click();
  const supports = await column(page, "Support");
  assert.equal(supports[0], "ended");
  const known = supports.filter((word) => !word.includes("not known"));
  assert.ok(supports.slice(known.length).every((word) => word.includes("not known")), "unknown is last");

  // A figure at the top leads to its rows.
  await page.locator("a.tile.ended").click();
  assert.equal(await results(page), `${ended} of ${total}`);
  assert.equal(await filter.inputValue().then((value) => value !== ""), true);
  await page.getByRole("button", { name: "Show all" }).click();

  // Details.
  const details = page.getByRole("button", { name: /^Details of/ }).first();
  await details.click();
  assert.equal(await details.getAttribute("aria-expanded"), "true");
  assert.match(await page.locator("td.details").innerText(), /Manifest digest\s+sha256:[0-9a-f]{64}/);
  await details.click();
  assert.equal(await page.locator("td.details").count(), 0);

  // The keyboard alone: from the skip link to the table, through its tools, to the order.
  await page.reload();
  await page.keyboard.press("Tab");
  assert.equal((await focused(page)).name, "Skip to the table");
  assert.ok((await focused(page)).outline >= 2, "focus is visible");
  await page.keyboard.press("Enter");
  const seen = [];
  for (let step = 0; step < 40 && seen.at(-1) !== "Owner/button"; step++) {
    await page.keyboard.press("Tab");
    const now = await focused(page);
    assert.ok(now.outline >= 2, `focus is visible on ${now.name}`);
    seen.push(now.tag === "BUTTON" ? `${now.name}/button` : now.name);
  }
  const expected = ["Search", "Namespace", "System", "Support", "Inspection", "Owner", "Show all/button",
    "All containers: rows", "Namespace/button", "Workload/button", "Container/button", "Pod/button", "Image/button",
    "System/button", "Support/button", "Until/button", "Inspection/button", "Owner/button"];
  assert.deepEqual(seen, expected);
  const sorted = () => page.evaluate(() => {
    const head = document.querySelector("th[aria-sort]");
    return head && `${head.innerText.trim()} ${head.getAttribute("aria-sort")}`;
  });
  await page.keyboard.press("Enter");
  assert.equal(await sorted(), "Owner ascending");
  await page.keyboard.press("Space");
  assert.equal(await sorted(), "Owner descending");
  await page.keyboard.press("ArrowLeft");
  assert.equal((await focused(page)).name, "Inspection");
  await page.keyboard.press("Enter");
  assert.equal(await sorted(), "Inspection ascending");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Tab");
  assert.match((await focused(page)).name, /^Details of/);
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("td.details").count(), 1);

  // Paper: nothing to press, everything unfolded, and light.
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  assert.equal(await page.locator(".tools").isVisible(), false);
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(255, 255, 255)");
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  assert.equal(await page.locator(".panels details:not([open])").count(), 0);
  const wide = await page.evaluate(() => [...document.querySelectorAll(".chart")].filter((chart) => chart.offsetHeight > 0).length);
  assert.ok(wide >= 3, "charts are on paper");
  await page.evaluate(() => dispatchEvent(new Event("afterprint")));
  const pdf = await page.pdf({ format: "A4", landscape: true });
  const sheets = pdf.toString("latin1").match(/\/Type\s*\/Page\b/g)?.length ?? 0;
  assert.ok(sheets >= 2 && pdf.length > 20_000, `${sheets} sheets, ${pdf.length} bytes`);
  await page.emulateMedia({ media: "screen", colorScheme: "light" });
  assert.deepEqual(incidents, []);

  // No screen is too small.
  for (const width of [320, 390, 768, 1440]) {
    await page.setViewportSize({ width, height: 844 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels too wide at ${width}`);
    // Rows are cards where there is no room for a table.
    const rows = await page.locator(".all .scroll").evaluate((one) => one.scrollWidth - one.clientWidth);
    assert.ok(rows <= 0 || width === 768, `rows are ${rows} pixels too wide at ${width}`);
  }

  // Without JavaScript: the same rows, and no tools that do nothing.
  const plain = await open(browser, file, { javaScriptEnabled: false });
  assert.equal(await plain.page.locator("table.data tbody tr").count(), all);
  assert.equal(await plain.page.locator(".tools").isVisible(), false);
  assert.deepEqual(plain.incidents, []);
  const cells = async (page) => (await page.locator("table.data tbody td:not(:has(.open))").allInnerTexts()).join("|");
  const fresh = await open(browser, file);
  assert.equal(await cells(plain.page), await cells(fresh.page));
  assert.ok((await texts(plain.page)).includes("Distributions and versions"));
});
