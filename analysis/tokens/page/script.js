"use strict";
(() => {
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

  // Sorting: a cell's data-value is its number; what has none goes last, whatever the order.
  const sort = (head) => {
    const table = head.closest("table");
    const column = [...head.parentNode.children].indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending";
    const key = (row) => {
      const cell = row.children[column];
      if (cell.textContent.trim() === "\u2013") return null;
      return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
    };
    const compare = (a, b) =>
      typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return down ? compare(b, a) : compare(a, b);
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
    all("th", table).forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };
  all("th button").forEach((button) => button.addEventListener("click", () => sort(button.closest("th"))));

  // Filters: data-domains and data-tokens hold what a row or figure is about; "" is about all.
  const form = document.getElementById("filters");
  const filter = () => {
    const domain = form.elements.domain.value;
    const tokens = form.elements.tokens.value;
    const fits = (told, wanted) => !wanted || !told || told.split("\n").some((one) => one === wanted || one.startsWith(wanted + "/"));
    let hidden = 0;
    all("[data-domains], [data-tokens]").forEach((part) => {
      part.hidden = !(fits(part.dataset.domains, domain) && fits(part.dataset.tokens, tokens));
      hidden += part.hidden;
    });
    all(".scroll").forEach((box) => {
      const empty = box.querySelector(".empty");
      if (empty) empty.style.display = all("tbody tr", box).every((row) => row.hidden) ? "block" : "none";
    });
    form.querySelector("output").textContent = domain || tokens ? hidden + " rows and figures hidden" : "";
  };
  if (form) {
    form.addEventListener("change", filter);
    form.addEventListener("reset", () => setTimeout(filter));
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();
  }

  // Figures open large; Escape, the button or a click beside the figure closes.
  const dialog = document.getElementById("large");
  all(".gallery button").forEach((button) =>
    button.addEventListener("click", () => {
      const small = button.querySelector("img");
      const large = dialog.querySelector("img");
      large.src = small.src;
      large.alt = small.alt;
      dialog.querySelector("figcaption").textContent = button.parentNode.querySelector("figcaption").textContent;
      dialog.showModal();
    }),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  window.addEventListener("beforeprint", () => {
    all("details").forEach((part) => (part.open = true));
    all("img").forEach((image) => (image.loading = "eager"));
  });
})();
