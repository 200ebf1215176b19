// A large page: that it works, and how long it takes.
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { open, withBrowser } from "./browser.mjs";

const [file, unit, rows] = process.argv.slice(2);

await withBrowser(async (browser) => {
  // The first start of a browser is not the page's.
  const warm = await open(browser, file);
  await warm.page.context().close();
  const { page, incidents } = await open(browser, file);
  const paint = await page.evaluate(() => new Promise((done) => {
    new PerformanceObserver((list) => {
      const entry = list.getEntriesByName("first-contentful-paint")[0];
      if (entry) done(entry.startTime);
    }).observe({ type: "paint", buffered: true });
  }));
  const loaded = await page.evaluate(() => performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd);
  const number = new Intl.NumberFormat("en").format(rows);
  assert.match(await page.locator(".results").innerText(), new RegExp(`^${number} ${unit}s, 1 to 100 shown$`));

  // From a key to the painted rows.
  const typed = (text) => page.evaluate((text) => new Promise((done) => {
    const search = document.querySelector(".tools input");
    const start = performance.now();
    search.value = text;
    search.dispatchEvent(new Event("input"));
    requestAnimationFrame(() => requestAnimationFrame(() =>
      done([performance.now() - start, document.querySelector(".results").textContent])));
  }), text);
  const times = {};
  for (const text of ["s", "service-0001", "debian", "debian team-07", "no such thing", ""]) {
    const [time, found] = await typed(text);
    times[`search "${text}"`] = Math.round(time);
    const many = text === "" ? found.startsWith(`${number} `) : /^(\d[\d,]*) of /.test(found) || found.startsWith(`${number} `);
    assert.ok(many, `${text}: ${found}`);
  }
  const clicked = (name) => page.evaluate((name) => new Promise((done) => {
    const button = [...document.querySelectorAll("button")].find((one) => one.textContent === name);
    const start = performance.now();
    button.click();
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
  }), name);
  for (const name of ["Image", "Support", "Workload"]) times[`order by ${name}`] = Math.round(await clicked(name));
  times["choose a namespace"] = Math.round(await page.evaluate(() => new Promise((done) => {
    const select = document.querySelector(".tools select");
    const start = performance.now();
    select.value = select.options[3].value;
    select.dispatchEvent(new Event("change"));
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
  })));
  const one = await page.locator(".results").innerText();
  assert.match(one, / of /);
  await page.getByRole("button", { name: "Show all" }).click();

  // Pages.
  const next = page.getByRole("button", { name: "Next" });
  await next.click();
  assert.match(await page.locator(".results").innerText(), / 101 to 200 shown$/);
  await page.getByRole("button", { name: "Back" }).click();
  assert.match(await page.locator(".results").innerText(), / 1 to 100 shown$/);
  assert.equal(await page.locator("table.data tbody tr").count(), 100);
  assert.deepEqual(incidents, []);

  // Bounds for what has hung, and no more.
  for (const time of [paint, loaded, ...Object.values(times)]) assert.ok(time < 30_000);
  console.log(JSON.stringify({ bytes: statSync(file).size, "first paint, ms": Math.round(paint),
    "loaded, ms": Math.round(loaded), ...times }, null, 1));
});
