// Search, order, filters, pages and details of the page's table. All texts become text nodes; the
// page's policy forbids markup from strings altogether.
"use strict";
(() => {
  const source = document.getElementById("data");
  const table = document.querySelector("table.data");
  if (!source || !table) return;
  const data = JSON.parse(source.textContent);
  const { columns, texts, rows } = data;
  const head = table.tHead;
  const body = table.tBodies[0];
  const tools = document.querySelector(".tools");
  const results = document.querySelector(".results");
  const pages = document.querySelector(".pages");
  const numbers = new Intl.NumberFormat("en");
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  // Pages of paper are bounded, too.
  const PRINTED = 2000;

  const shown = columns.map((_, place) => place).filter((place) => !columns[place].detail);
  const details = columns.map((_, place) => place).filter((place) => columns[place].detail);
  const state = { words: [], filters: new Map(), order: null, descending: false, page: 0 };
  let found = rows.map((_, number) => number);

  const element = (name, properties = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "class") made.className = value;
      else if (key.includes("-")) made.setAttribute(key, value);
      else made[key] = value;
    }
    made.append(...children);
    return made;
  };

  // What a cell holds: null, a number, or the places of one or several texts.
  const isNumber = (place) => columns[place].look === "number";
  const places = (cell) => (cell === null ? [] : Array.isArray(cell) ? cell : [cell]);
  const lines = (row, place) => {
    const cell = rows[row][place];
    if (isNumber(place)) return cell === null ? [] : [numbers.format(cell)];
    return places(cell).map((text) => texts[text]);
  };
  const classes = columns.map((column) => new Map(column.words));

  // Rows that have every word somewhere, and the chosen value in every filter. Each text is looked at
  // once, however many rows show it.
  const find = () => {
    const matches = state.words.map((word) => {
      const hit = new Uint8Array(texts.length);
      for (let place = 0; place < texts.length; place++) {
        if (lowered()[place].includes(word)) hit[place] = 1;
      }
      return hit;
    });
    const filters = [...state.filters].map(([place, text]) => [place, text]);
    found = [];
    for (let number = 0; number < rows.length; number++) {
      const row = rows[number];
      const passes = filters.every(([place, text]) =>
        text === null ? row[place] === null : places(row[place]).includes(text));
      if (!passes) continue;
      const has = (hit) =>
        row.some((cell, place) =>
          cell !== null && !isNumber(place) &&
          (Array.isArray(cell) ? cell.some((text) => hit[text]) : hit[cell]));
      if (matches.every(has)) found.push(number);
    }
    arrange();
  };

  let loweredTexts = null;
  const lowered = () => (loweredTexts ??= texts.map((text) => text.toLowerCase()));

  // The place of each row's cell in the order of its column; unknown comes last, either way.
  const ranks = new Map();
  const rank = (place) => {
    if (ranks.has(place)) return ranks.get(place);
    const first = (row) => (isNumber(place) ? row[place] : places(row[place])[0] ?? null);
    const values = [...new Set(rows.map(first))].filter((value) => value !== null);
    const weights = new Map(columns[place].words.map(([word], weight) => [word, weight]));
    const weight = (value) => weights.get(texts[value]) ?? weights.size;
    values.sort((a, b) =>
      isNumber(place) ? a - b : weight(a) - weight(b) || collator.compare(texts[a], texts[b]));
    const byValue = new Map(values.map((value, order) => [value, order]));
    const made = rows.map((row) => byValue.get(first(row)) ?? -1);
    ranks.set(place, made);
    return made;
  };

  const arrange = () => {
    if (state.order !== null) {
      const order = rank(state.order);
      const sign = state.descending ? -1 : 1;
      found.sort((a, b) =>
        (order[a] < 0) - (order[b] < 0) || sign * (order[a] - order[b]) || a - b);
    }
    state.page = 0;
    show();
  };

  const nothing = () => [
    element("span", { class: "nothing", "aria-hidden": "true", textContent: "–" }),
    element("span", { class: "sr", textContent: "not known" }),
  ];

  const content = (row, place) => {
    const all = lines(row, place);
    if (all.length === 0) return nothing();
    return all.flatMap((line) => {
      switch (columns[place].look) {
        case "badge":
          return [element("span", { class: `badge ${classes[place].get(line) ?? "plain"}`, textContent: line }), " "];
        case "code":
          // A line may end between the parts of a reference.
          return [element("code", {}, ...line.split(/(?<=[/@])/).flatMap((part) => [part, element("wbr")]))];
        default:
          return [element("span", { class: "line", textContent: line })];
      }
    });
  };

  const detailsOf = (row) => {
    const list = element("dl");
    for (const place of details) {
      const values = lines(row, place);
      if (values.length === 0) continue;
      list.append(element("div", {},
        element("dt", { textContent: columns[place].title }),
        element("dd", {}, ...values.map((value) => element("span", { class: "line", textContent: value })))));
    }
    if (!list.hasChildNodes()) return element("p", { textContent: "No more is known." });
    return list;
  };

  const rowOf = (number) => {
    const row = element("tr", { role: "row" });
    if (details.length > 0) {
      const name = lines(number, shown[2])[0] ?? "";
      const button = element("button", { class: "open", type: "button", "aria-expanded": "false",
        "aria-label": `Details of ${name}, row ${numbers.format(number + 1)}` });
      button.addEventListener("click", () => {
        const open = button.getAttribute("aria-expanded") === "true";
        button.setAttribute("aria-expanded", String(!open));
        if (open) row.nextElementSibling.remove();
        else {
          const cell = element("td", { class: "details", role: "cell", colSpan: shown.length + 1 }, detailsOf(number));
          row.after(element("tr", { role: "row" }, cell));
        }
      });
      row.append(element("td", { class: "opens", role: "cell" }, button));
    }
    for (const place of shown) {
      const { look, title } = columns[place];
      const style = { number: "number", date: "date" }[look] ?? "";
      row.append(element("td", { class: style, role: "cell", "data-label": title }, ...content(number, place)));
    }
    return row;
  };

  const show = (printed = 0) => {
    const start = printed ? 0 : state.page * data.page;
    const part = found.slice(start, printed || start + data.page);
    body.replaceChildren(...part.map(rowOf));
    if (part.length === 0) {
      const text = rows.length === 0 ? `There is no ${data.unit}.` : `No ${data.unit} matches.`;
      const cell = element("td", { class: "empty", role: "cell", colSpan: shown.length + (details.length > 0), textContent: text });
      body.append(element("tr", { role: "row" }, cell));
    }
    const plural = rows.length === 1 ? "" : "s";
    const total = `${numbers.format(rows.length)} ${data.unit}${plural}`;
    const matching = found.length === rows.length ? total : `${numbers.format(found.length)} of ${total}`;
    const range = part.length === found.length ? "" :
      `, ${numbers.format(start + 1)} to ${numbers.format(start + part.length)} shown`;
    results.textContent = matching + range;
    const last = Math.max(0, Math.ceil(found.length / data.page) - 1);
    pages.hidden = last === 0;
    back.disabled = state.page === 0;
    next.disabled = state.page === last;
    where.textContent = `Page ${numbers.format(state.page + 1)} of ${numbers.format(last + 1)}`;
  };

  // The head, with buttons that order.
  const heads = shown.map((place) => {
    const button = element("button", { class: "sort", type: "button", textContent: columns[place].title });
    const cell = element("th", { scope: "col", role: "columnheader", class: isNumber(place) ? "number" : "" }, button);
    button.addEventListener("click", () => {
      if (state.order !== place) Object.assign(state, { order: place, descending: false });
      else if (!state.descending) state.descending = true;
      else Object.assign(state, { order: null, descending: false });
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (state.order !== null) cell.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      else found.sort((a, b) => a - b);
      arrange();
    });
    // The arrows lead from one button to the next, as Tab does.
    button.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const other = step && heads[heads.indexOf(cell) + step];
      if (other) {
        event.preventDefault();
        other.firstElementChild.focus();
      }
    });
    return cell;
  });
  const first = details.length > 0
    ? [element("td", { class: "opens", role: "cell" }, element("span", { class: "sr", textContent: "Details" }))] : [];
  head.replaceChildren(element("tr", { role: "row" }, ...first, ...heads));

  // Search and filters.
  const search = element("input", { type: "search", autocomplete: "off", spellcheck: false });
  let waiting = 0;
  search.addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      state.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      find();
    });
  });
  tools.append(element("label", { class: "search" }, "Search", search));

  const selects = new Map();
  const choose = (place, value) => {
    if (value === "") state.filters.delete(place);
    else state.filters.set(place, value === "null" ? null : Number(value));
    find();
  };
  columns.forEach((column, place) => {
    if (!column.filter) return;
    const counts = new Map();
    for (const row of rows) {
      const values = places(row[place]);
      for (const value of values.length ? values : [null]) counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    if (counts.size < 2) return;
    const weights = new Map(column.words.map(([word], weight) => [word, weight]));
    const weight = (value) => value === null ? Infinity : weights.get(texts[value]) ?? weights.size;
    const values = [...counts.keys()].sort((a, b) => {
      const [left, right] = [weight(a), weight(b)];
      if (left !== right) return left < right ? -1 : 1;
      return a === null || b === null ? 0 : collator.compare(texts[a], texts[b]);
    });
    const select = element("select", {}, element("option", { value: "", textContent: "all" }));
    for (const value of values) {
      const name = value === null ? "not known" : texts[value];
      select.append(element("option", { value: String(value), textContent: `${name} (${numbers.format(counts.get(value))})` }));
    }
    select.addEventListener("change", () => choose(place, select.value));
    selects.set(place, select);
    tools.append(element("label", {}, column.title, select));
  });

  const clear = () => {
    search.value = "";
    for (const select of selects.values()) select.value = "";
    state.words = [];
    state.filters.clear();
  };
  const clearing = element("button", { type: "button", textContent: "Show all" });
  clearing.addEventListener("click", () => {
    clear();
    find();
    search.focus();
  });
  tools.append(clearing);

  // Pages.
  const back = element("button", { type: "button", textContent: "Back" });
  const next = element("button", { type: "button", textContent: "Next" });
  const where = element("span");
  const turn = (step) => {
    state.page += step;
    show();
    table.closest("section").scrollIntoView();
  };
  back.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));
  pages.append(back, where, next);

  // Figures at the top lead to their rows.
  for (const link of document.querySelectorAll("a[data-column]")) {
    link.addEventListener("click", () => {
      const place = columns.findIndex((column) => column.title === link.dataset.column);
      const value = texts.indexOf(link.dataset.word);
      const select = selects.get(place);
      clear();
      if (select && value >= 0) {
        select.value = String(value);
        state.filters.set(place, value);
      }
      find();
    });
  }

  // On paper nothing can be opened or turned.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll(".panels details:not([open])")];
    opened.forEach((each) => (each.open = true));
    show(PRINTED);
  });
  addEventListener("afterprint", () => {
    opened.forEach((each) => (each.open = false));
    show();
  });

  tools.hidden = false;
  show();
})();
