// What a browser with script adds to the console's pages. Without it they work as well.
"use strict";

// A button that copies the text of another element, where the browser lets it.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const from = document.getElementById(button.dataset.copy);
  if (!from || !navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(from.textContent);
    button.textContent = button.dataset.copied;
  });
}

// A box that ticks all boxes of its table.
for (const all of document.querySelectorAll("input[data-all]")) {
  const boxes = [...all.form.elements].filter((e) => e.type === "checkbox" && e.name === all.dataset.all);
  const show = () => {
    const ticked = boxes.filter((b) => b.checked).length;
    all.checked = ticked === boxes.length && ticked > 0;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  };
  all.closest("[hidden]")?.removeAttribute("hidden");
  all.addEventListener("change", () => { for (const b of boxes) b.checked = all.checked; });
  for (const b of boxes) b.addEventListener("change", show);
  show();
}
