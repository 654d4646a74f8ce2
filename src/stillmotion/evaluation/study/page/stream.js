// Who sees what in which order. The same numbers as study/stream.py: Marsaglia's xorshift128 from
// four FNV-1a hashes of a text.

function fnv1a(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    value = Math.imul(value ^ byte, 0x01000193);
  }
  return value >>> 0;
}

class Stream {
  constructor(text) {
    this.words = [0, 1, 2, 3].map((index) => fnv1a(`${index}:${text}`));
    for (let i = 0; i < 64; i += 1) this.next();
  }

  next() {
    const [x, y, z, w] = this.words;
    const t = x ^ (x << 11);
    this.words = [y, z, w, (w ^ (w >>> 19) ^ t ^ (t >>> 8)) >>> 0];
    return this.words[3];
  }

  below(bound) {
    const limit = 2 ** 32 - (2 ** 32 % bound);
    let number = this.next();
    while (number >= limit) number = this.next();
    return number % bound;
  }

  shuffled(items) {
    const found = [...items];
    for (let last = found.length - 1; last > 0; last -= 1) {
      const other = this.below(last + 1);
      [found[last], found[other]] = [found[other], found[last]];
    }
    return found;
  }
}

// What a rater sees, from first to last: [{trial, showing, order}], by ids.
function stepsFor(study, rater) {
  const stream = new Stream(`${study.shuffle}|${rater}`);
  const ids = study.trials.map((trial) => trial.id);
  const twice = stream.shuffled(study.repeatable).slice(0, study.repeats);
  const once = stream.shuffled(ids.filter((id) => !twice.includes(id)));
  const early = Math.max(0, Math.floor((ids.length + 1) / 2) - twice.length);
  const head = stream.shuffled([...twice, ...once.slice(0, early)]);
  const tail = stream.shuffled([...twice, ...once.slice(early)]);
  if (head.length && tail.length && head[head.length - 1] === tail[0]) {
    [tail[0], tail[1]] = [tail[1], tail[0]];
  }
  const shown = [
    ...head.map((trial) => [trial, 1]),
    ...tail.map((trial) => [trial, twice.includes(trial) ? 2 : 1]),
  ];
  const clips = new Map(study.trials.map((trial) => [trial.id, trial.clips.map((c) => c.id)]));
  return shown.map(([trial, showing]) => ({
    trial,
    showing,
    order: new Stream(`${study.shuffle}|${rater}|${trial}|${showing}`).shuffled(clips.get(trial)),
  }));
}
