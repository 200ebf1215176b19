// A browser for the tests of pages, and eyes on what a page does beside being shown.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// Where scripts/tools installs what package-lock.json pins.
const require = createRequire(`${process.env.IMAGE_CENSUS_PAGE_TOOLS}/`);
const { chromium } = require("playwright-core");
export const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

// Runs `work` with a browser of its own, whose profile is new and goes with it.
export async function withBrowser(work) {
  const browser = await chromium.launch({ executablePath: process.env.IMAGE_CENSUS_CHROMIUM, args: FLAGS });
  try {
    await work(browser);
  } finally {
    await browser.close();
  }
}

// Opens a file. `incidents` grows by all that a page must not do: requests, errors, dialogs, and
// whatever its policy had to stop.
export async function open(browser, file, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  const address = pathToFileURL(file).href;
  const incidents = [];
  page.on("request", (request) => {
    const asked = request.url().split("#")[0];
    if (asked !== address && !asked.startsWith("data:")) incidents.push(`request: ${asked}`);
  });
  page.on("console", (message) => incidents.push(`console: ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => incidents.push(`error: ${error}`));
  page.on("dialog", (dialog) => {
    incidents.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("popup", () => incidents.push("popup"));
  page.on("framenavigated", (frame) => {
    if (frame.url().split("#")[0] !== address) incidents.push(`navigation: ${frame.url()}`);
  });
  await page.goto(address);
  return { page, incidents };
}

// All texts of a page but those of scripts and styles, also what is folded away.
export function texts(page) {
  return page.evaluate(() => {
    const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
    let found = "";
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (node.parentElement.closest("script, style")) continue;
      // Where a line may end, a text goes on.
      found += node.previousSibling?.nodeName === "WBR" ? node.data : `\n${node.data}`;
    }
    return found;
  });
}

// The shown cells of a column, by its title.
export function column(page, title) {
  return page.evaluate((title) => {
    const table = document.querySelector("table.data");
    const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.innerText.trim() === title);
    return [...table.tBodies[0].rows].filter((row) => row.cells.length > 1)
      .map((row) => row.cells[place].innerText.trim());
  }, title);
}
