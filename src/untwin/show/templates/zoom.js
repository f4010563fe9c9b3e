"use strict";
{
  const dialog = document.querySelector("dialog"), large = dialog.querySelector("img");
  for (const button of document.querySelectorAll("button.zoom")) button.addEventListener("click", () => {
    const img = button.querySelector("img");
    large.src = img.src;
    large.alt = img.alt;
    dialog.classList.remove("large");
    dialog.showModal();
  });
  large.addEventListener("click", e => {
    const [x, y] = [e.offsetX / large.clientWidth, e.offsetY / large.clientHeight];
    dialog.classList.toggle("large");
    dialog.scrollTo(x * large.clientWidth - dialog.clientWidth / 2, y * large.clientHeight - dialog.clientHeight / 2);
  });
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", e => { if (e.key === "+" || e.key === "-") dialog.classList.toggle("large", e.key === "+"); });
}
