"use strict";
// One clock for all clips: it counts frames, and every clip in sight shows the frame it says.
(() => {
  const gallery = document.getElementById("gallery");
  if (!gallery) return;
  const find = (id) => document.getElementById(id);
  const bar = gallery.querySelector(".bar");
  const controls = { play: find("play"), frame: find("frame"), where: find("where"), group: find("group") };
  const boxes = [...gallery.querySelectorAll("input.method")];
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const LONGEST_PAUSE = 250; // ms; a tab that slept goes on where it was

  const clips = [...gallery.querySelectorAll("canvas")].map((canvas) => ({
    canvas,
    context: canvas.getContext("2d"),
    picture: null,
    frames: Number(canvas.dataset.frames),
    columns: Number(canvas.dataset.columns),
    inSight: false,
  }));
  const clipOf = new Map(clips.map((clip) => [clip.canvas, clip]));
  const clock = { at: 0, frames: Number(gallery.dataset.frames), playing: false, since: 0, speed: 1 };

  function load(clip) {
    clip.picture = new Image();
    clip.picture.addEventListener("load", () => draw(clip));
    clip.picture.src = clip.canvas.dataset.strip;
  }

  function draw(clip) {
    if (!clip.inSight || !clip.picture.complete || !clip.picture.naturalWidth) return;
    const { canvas, columns } = clip;
    const index = Math.min(clock.at, clip.frames - 1); // a shorter clip waits at its end
    const x = (index % columns) * canvas.width;
    const y = Math.floor(index / columns) * canvas.height;
    clip.context.drawImage(clip.picture, x, y, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    canvas.dataset.shown = String(index + 1);
  }

  function show(at) {
    clock.at = ((at % clock.frames) + clock.frames) % clock.frames;
    controls.frame.value = String(clock.at + 1);
    controls.where.value = `${clock.at + 1} / ${clock.frames}`;
    clips.forEach(draw);
  }

  function tick(now) {
    if (!clock.playing) return;
    const each = 1000 / (Number(gallery.dataset.fps) * clock.speed);
    if (now - clock.since > Math.max(LONGEST_PAUSE, 2 * each)) clock.since = now - each;
    const passed = Math.floor((now - clock.since) / each);
    if (passed > 0) {
      clock.since += passed * each;
      show(clock.at + passed);
    }
    requestAnimationFrame(tick);
  }

  function play(wanted) {
    if (wanted === clock.playing) return;
    clock.playing = wanted;
    controls.play.textContent = wanted ? "Pause" : "Play";
    if (wanted) {
      clock.since = performance.now();
      requestAnimationFrame(tick);
    }
  }

  function step(by) {
    play(false);
    show(clock.at + by);
  }

  function choose() {
    const group = controls.group ? controls.group.value : "";
    const methods = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    for (const row of gallery.querySelectorAll(".case")) row.hidden = group !== "" && row.dataset.group !== group;
    for (const figure of gallery.querySelectorAll("figure[data-method]")) figure.hidden = !methods.has(figure.dataset.method);
    const shown = clips.filter((clip) => methods.has(clip.canvas.parentElement.dataset.method) && !clip.canvas.closest(".case").hidden);
    clock.frames = Math.max(1, ...shown.map((clip) => clip.frames));
    controls.frame.max = String(clock.frames);
    show(Math.min(clock.at, clock.frames - 1));
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input, select, textarea, .scroll, pre")) return;
    const onControl = event.target.closest("button, summary, a");
    const box = gallery.getBoundingClientRect();
    if (box.bottom < 0 || box.top > window.innerHeight) return; // keys belong to what is seen
    if (event.key === "k" || event.key === "K" || (event.key === " " && !onControl)) play(!clock.playing);
    else if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const clip = clipOf.get(entry.target);
      clip.inSight = entry.isIntersecting;
      if (clip.inSight && !clip.picture) load(clip);
      else if (clip.inSight) draw(clip);
    }
  }, { rootMargin: "200px" });
  clips.forEach((clip) => watcher.observe(clip.canvas));

  controls.play.addEventListener("click", () => play(!clock.playing));
  find("back").addEventListener("click", () => step(-1));
  find("forward").addEventListener("click", () => step(1));
  controls.frame.addEventListener("input", () => {
    play(false);
    show(Number(controls.frame.value) - 1);
  });
  find("speed").addEventListener("change", (event) => {
    clock.speed = Number(event.target.value);
  });
  if (controls.group) controls.group.addEventListener("change", choose);
  boxes.forEach((box) => box.addEventListener("change", choose));
  still.addEventListener("change", () => {
    if (still.matches) play(false);
  });
  document.addEventListener("keydown", key);
  bar.hidden = false;
  choose(); // a browser may have kept the choices of an earlier visit
  play(!still.matches);
})();
