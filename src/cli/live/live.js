'use strict';
// The token stands in the fragment, which no browser sends: it goes in a header, and to this server only.
const token = location.hash.slice(1);
const say = (words) => { document.getElementById('note').textContent = words; };
const ask = (path) => fetch(path, { headers: { authorization: 'Bearer ' + token }, cache: 'no-store' });

async function draw(words) {
  const answer = await ask('/page');
  if (answer.status !== 200) { say(await answer.text()); return; }
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const open = [...document.querySelectorAll('details')].map((each) => each.open);
  document.title = page.title;
  document.querySelector('style').textContent = page.querySelector('style').textContent;
  document.querySelector('main').replaceWith(document.importNode(page.querySelector('main'), true));
  document.querySelectorAll('details').forEach((each, at) => { each.open = Boolean(open[at]); });
  document.dispatchEvent(new Event('drawn'));
  say(words);
}

async function follow() {
  const answer = await ask('/events');
  if (answer.status !== 200) { say(await answer.text()); return; }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) { say('Stoker has ended before the run was over.'); return; }
    text += value;
    for (let at = text.indexOf('\n\n'); at >= 0; at = text.indexOf('\n\n')) {
      const isOver = text.slice(0, at).includes('event: over');
      text = text.slice(at + 2);
      await draw(isOver ? 'The run is over.' : 'The run goes on; this page follows it.');
      if (isOver) { await reader.cancel(); return; }
    }
  }
}

follow().catch(() => say('The connection is lost: Stoker has ended.'));
