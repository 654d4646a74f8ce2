// What the page does by itself: its colours, clips that play, and fields that say what is wrong with them.
'use strict';
(() => {
  const KEY = 'stillmotion-colours';
  const systemIsDark = window.matchMedia('(prefers-color-scheme: dark)');
  const lessMotion = window.matchMedia('(prefers-reduced-motion: reduce)');

  const wanted = () => {
    try { return localStorage.getItem(KEY) || 'auto'; } catch { return 'auto'; }
  };

  const colour = () => {
    const scheme = wanted();
    const dark = scheme === 'dark' || (scheme === 'auto' && systemIsDark.matches);
    if (document.body && document.body.classList.contains('dark') !== dark) {
      document.body.classList.toggle('dark', dark);
    }
    document.documentElement.style.colorScheme = dark ? 'dark' : 'light';
    const select = document.getElementById('sm-scheme');
    if (select && select.value !== scheme) select.value = scheme;
  };

  document.addEventListener('change', event => {
    if (event.target.id !== 'sm-scheme') return;
    try { localStorage.setItem(KEY, event.target.value); } catch { /* then for this visit only */ }
    colour();
  });
  systemIsDark.addEventListener('change', colour);

  // Clips play when they come into sight, unless less motion is wished for.
  const play = video => {
    if (video.dataset.begun || lessMotion.matches) return;
    video.dataset.begun = '1';
    video.muted = true;
    video.play().catch(() => { /* a browser may refuse; the controls are there */ });
  };

  // A chapter of a film: on from there.
  document.addEventListener('click', event => {
    const chapter = event.target.closest('[data-seek]');
    const film = chapter && chapter.closest('.sm-card').querySelector('video');
    if (!film) return;
    film.currentTime = Number(chapter.dataset.seek);
    film.play().catch(() => { /* a browser may refuse; the controls are there */ });
  });

  // A sentence under a field is tied to it, for screen readers; the first one is brought into sight.
  const tie = place => {
    const field = document.getElementById(place.id.replace(/-note$/, ''));
    if (!field || field === place) return;
    const wrong = place.querySelector('.sm-note');
    for (const input of field.querySelectorAll('input, textarea')) {
      if (wrong) {
        input.setAttribute('aria-invalid', 'true');
        input.setAttribute('aria-describedby', place.id);
      } else if (input.getAttribute('aria-describedby') === place.id) {
        input.removeAttribute('aria-invalid');
        input.removeAttribute('aria-describedby');
      }
    }
  };

  // The way of making a clip that was chosen last is the one that is open.
  const WAY = 'stillmotion-way';
  let openedAgain = false;
  const ways = () => [...document.querySelectorAll('#sm-step-3 button[role="tab"]')];
  document.addEventListener('click', event => {
    const way = event.target.closest('#sm-step-3 button[role="tab"]');
    if (!way || !openedAgain) return;
    try { localStorage.setItem(WAY, way.innerText.trim()); } catch { /* then for this visit only */ }
  });
  const openAgain = () => {
    if (openedAgain || !ways().length) return;
    openedAgain = true;
    let name = null;
    try { name = localStorage.getItem(WAY); } catch { /* the first one, then */ }
    const way = ways().find(tab => tab.innerText.trim() === name);
    if (way && way.getAttribute('aria-selected') !== 'true') way.click();
  };

  let known = 0;
  const look = () => {
    colour();
    openAgain();
    document.querySelectorAll('video.sm-media').forEach(play);
    const places = document.querySelectorAll('.sm-note-place');
    places.forEach(tie);
    const notes = document.querySelectorAll('.sm-note-place .sm-note');
    if (notes.length > known) notes[0].scrollIntoView({block: 'nearest'});
    known = notes.length;
  };

  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; look(); });
  };

  document.addEventListener('DOMContentLoaded', () => {
    new MutationObserver(soon).observe(document.body, {
      childList: true, subtree: true, attributes: true, attributeFilter: ['class'],
    });
    look();
  });
})();
