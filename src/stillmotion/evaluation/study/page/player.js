// All clips of a question from one clock: each canvas shows the same frame of its own strip.

class Player {
  constructor(onTick) {
    this.onTick = onTick;
    this.cells = [];
    this.elapsed = 0;
    this.speed = 1;
    this.playing = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.last = performance.now();
    this.generation = 0;
    const tick = (now) => {
      this.tick((now - this.last) / 1000);
      this.last = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  stop() {
    this.generation += 1;
    this.cells = [];
  }

  // Unpack the strips, then begin with all; false if another question came in between.
  async load(frames, strips, canvases) {
    this.stop();
    const generation = this.generation;
    const images = await Promise.all(strips.map(unpacked));
    if (generation !== this.generation) return false;
    this.frames = frames;
    this.cells = canvases.map((canvas, i) => ({ canvas, image: images[i], shown: -1 }));
    this.restart();
    return true;
  }

  restart() {
    this.elapsed = 0;
    this.draw(0);
  }

  // `seconds` since the last picture; a page in the background gets none, and no time counts.
  tick(seconds) {
    if (!this.cells.length || document.hidden) return;
    const passed = Math.min(seconds, 0.25);
    let loops = 0;
    if (this.playing) {
      const duration = this.frames.count / this.frames.fps;
      this.elapsed += passed * this.speed;
      loops = Math.floor(this.elapsed / duration);
      this.elapsed -= loops * duration;
      this.draw(Math.floor(this.elapsed * this.frames.fps));
    }
    this.onTick(passed, loops);
  }

  draw(frame) {
    const { width, height, columns, count } = this.frames;
    const index = Math.min(frame, count - 1);
    for (const cell of this.cells) {
      if (cell.shown === index) continue;
      const x = (index % columns) * width;
      const y = Math.floor(index / columns) * height;
      const context = cell.canvas.getContext("2d");
      context.drawImage(cell.image, x, y, width, height, 0, 0, width, height);
      cell.shown = index;
      cell.canvas.dataset.frame = index;
    }
  }
}

async function unpacked(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  return image;
}
