// What a tap means: one answer is a list of clip ids. While it is not finished, a ranking has
// gaps (null), and an answer that was not begun is missing.

const KINDS = {
  rank: {
    isDone: (choice) => Boolean(choice) && !choice.includes(null),

    // A tap gives the next free place, or takes the place away again.
    tap(choice, clip, order) {
      const places = choice ?? order.map(() => null);
      const place = places.indexOf(clip);
      if (place >= 0) return places.map((other) => (other === clip ? null : other));
      return KINDS.rank.give(places, clip, places.indexOf(null), order);
    },

    // A clip that had the place gets the other's place in exchange. The last clip needs no tap.
    give(choice, clip, place, order) {
      const places = [...(choice ?? order.map(() => null))];
      const before = places.indexOf(clip);
      if (before === place) return KINDS.rank.tap(places, clip, order);
      if (before >= 0) places[before] = places[place];
      places[place] = clip;
      const rest = order.filter((id) => !places.includes(id));
      if (rest.length === 1) places[places.indexOf(null)] = rest[0];
      return places;
    },
  },

  best: {
    isDone: (choice) => Boolean(choice) && choice.length === 1,
    tap: (choice, clip) => (choice?.includes(clip) ? undefined : [clip]),
  },

  select: {
    // None at all is an answer too, given by its own button.
    isDone: (choice) => Boolean(choice),
    tap(choice, clip, order) {
      const had = choice?.includes(clip);
      const now = order.filter((id) => (id === clip ? !had : choice?.includes(id)));
      return now.length ? now : undefined;
    },
  },
};

const letterOf = (index) => String.fromCharCode(65 + index);

const answerKey = (step) => `${step.trial}#${step.showing}`;

function answerOf(session, step) {
  const key = answerKey(step);
  session.answers[key] ??= { choices: {}, seconds: 0, loops: 0 };
  return session.answers[key];
}

function isAnswered(study, session, step) {
  const given = session.answers[answerKey(step)];
  return Boolean(given) && study.aspects.every((a) => KINDS[a.kind].isDone(given.choices[a.key]));
}

// The file for the researcher: questions that are answered whole, in the order they were seen.
function answersFile(study, session, steps) {
  const finished = steps.filter((step) => isAnswered(study, session, step));
  return {
    schema_version: study.schema_version,
    study: study.study,
    rater: session.rater,
    session: session.session,
    saved_at: new Date().toISOString(),
    answers: finished.map((step) => {
      const given = session.answers[answerKey(step)];
      return {
        trial: step.trial,
        showing: step.showing,
        order: step.order,
        choices: given.choices,
        seconds: Math.round(given.seconds * 10) / 10,
        loops: given.loops,
      };
    }),
  };
}
