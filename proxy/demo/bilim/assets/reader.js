// A printed lesson shows its answers; on the screen the pupil opens them.
addEventListener("beforeprint", () => {
  for (const answers of document.querySelectorAll("details")) answers.open = true;
});
