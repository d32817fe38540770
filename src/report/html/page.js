'use strict';
// Optional: the page says all without it. A click on the head of a column sorts by it, and once more the other way round.
(() => {
  const UNITS = { 'µs': 1e-6, ms: 1e-3, s: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, k: 1e3, M: 1e6, G: 1e9 };
  // What a cell is worth: `1,234`, `8.0 ms`, `3m 05s`, `1:02:03`, or its words.
  const worth = (text) => {
    let found = /^(\d+)h (\d+)m$/.exec(text) || /^(\d+)m (\d+)s$/.exec(text);
    if (found) return (Number(found[1]) * 60 + Number(found[2])) * (text.endsWith('m') ? 60 : 1);
    if (/^\d+(:\d\d)+$/.test(text)) return text.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
    found = /^([\d,]+(?:\.\d+)?)(?: ?([A-Za-zµ]+(?:\/s)?))?$/.exec(text);
    const unit = found && (found[2] || '').replace('/s', '');
    if (!found || (unit && !(unit in UNITS) && !/^[a-z]+$/.test(unit))) return null;
    return Number(found[1].replaceAll(',', '')) * (UNITS[unit] || 1);
  };
  const headOf = (target) => target.closest && target.closest('thead th');
  const sort = (head) => {
    const body = head.closest('table').tBodies[0];
    const rows = [...body.rows];
    // A total stays where it is.
    const last = rows.length && rows.at(-1).querySelector('strong') ? rows.pop() : null;
    const way = head.getAttribute('aria-sort') === 'descending' ? 1 : -1;
    const text = (row) => row.cells[head.cellIndex].textContent.trim();
    // Cells without a number come last, either way.
    const compare = (a, b) => {
      const [x, y] = [worth(text(a)), worth(text(b))];
      if (x !== null && y !== null) return (x - y) * way;
      if (x === null && y === null) return text(a).localeCompare(text(b)) * way;
      return x === null ? 1 : -1;
    };
    rows.sort(compare).concat(last || []).forEach((row) => body.append(row));
    for (const each of head.parentNode.cells) each.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', way > 0 ? 'ascending' : 'descending');
  };
  document.addEventListener('click', (event) => { const head = headOf(event.target); if (head) sort(head); });
  document.addEventListener('keydown', (event) => {
    const head = headOf(event.target);
    if (head && (event.key === 'Enter' || event.key === ' ')) { event.preventDefault(); sort(head); }
  });
  const ready = () => document.querySelectorAll('thead th').forEach((head) => { head.tabIndex = 0; });
  document.addEventListener('drawn', ready);
  document.documentElement.classList.add('sorts');
  ready();
})();
