'use strict';
(() => {
  document.documentElement.classList.add('js');
  const status = document.getElementById('status');

  // The clipboard interface exists only in secure contexts, and many servers of a local network have no TLS.
  const copyText = async (text) => {
    if (navigator.clipboard && window.isSecureContext) {
      try {
        await navigator.clipboard.writeText(text);
        return true;
      } catch { /* not permitted: try the older way */ }
    }
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'hidden';
    area.setAttribute('readonly', '');
    document.body.append(area);
    area.select();
    let done = false;
    try {
      done = document.execCommand('copy');
    } catch { /* not supported */ }
    area.remove();
    return done;
  };

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('button[data-copy]');
    if (!button) return;
    const code = button.closest('.copyable').querySelector('code');
    const done = await copyText(code.textContent);
    button.focus();
    if (!done) getSelection().selectAllChildren(code);
    button.dataset.copy = done ? 'done' : 'failed';
    button.textContent = done ? 'Copied' : 'Press Ctrl+C';
    status.textContent = done ? 'Copied' : 'The text is selected';
    clearTimeout(button.timer);
    button.timer = setTimeout(() => {
      button.dataset.copy = '';
      button.textContent = 'Copy';
      status.textContent = '';
    }, 2000);
  });

  const table = document.getElementById('packages');
  if (!table) return;
  const body = table.tBodies[0];
  const count = document.getElementById('package-count');
  const noMatch = document.getElementById('no-match');
  const all = count.textContent;
  const rows = [...body.rows].map((row) => ({
    row,
    // The name without separators as well: `typing extensions` finds `typing-extensions`.
    text: row.cells[0].textContent.toLowerCase().replace(/[-_.]+/g, '-'),
  }));

  const search = document.getElementById('search');
  const filter = () => {
    const words = search.value.toLowerCase().replace(/[-_.]+/g, '-').split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { row, text } of rows) {
      const isMatch = words.every((word) => text.includes(word));
      row.hidden = !isMatch;
      if (isMatch) shown += 1;
    }
    count.textContent = words.length ? `${shown.toLocaleString('en')} of ${all}` : all;
    noMatch.hidden = shown > 0;
    table.hidden = shown === 0;
  };
  let frame;
  search.addEventListener('input', () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(filter);
  });
  document.addEventListener('keydown', (event) => {
    const isTyping = event.target.closest('input, textarea, select');
    if (event.key === '/' && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
    } else if (event.key === 'Escape' && event.target === search && search.value) {
      search.value = '';
      filter();
    }
  });
  // A browser may restore the text of the field.
  if (search.value) filter();

  const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });
  const units = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
  const size = (text) => {
    const [number, unit] = text.trim().split(' ');
    return Number(number) * units[unit];
  };
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const kind = header.dataset.sort;
    if (!kind) return;
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener('click', () => {
      const now = header.getAttribute('aria-sort');
      // The largest sizes are of interest, and the first names.
      const first = kind === 'size' ? 'descending' : 'ascending';
      const second = kind === 'size' ? 'ascending' : 'descending';
      const order = now === first ? second : first;
      headers.forEach((other) => other.removeAttribute('aria-sort'));
      header.setAttribute('aria-sort', order);
      const sign = order === 'ascending' ? 1 : -1;
      const text = (row) => (column ? row.cells[column] : row.cells[0].firstElementChild).textContent;
      const keyed = rows.map(({ row }) => ({ row, key: kind === 'size' ? size(text(row)) : text(row) }));
      const compare = kind === 'size' ? (a, b) => a - b : (a, b) => collator.compare(a, b);
      keyed.sort((a, b) => sign * compare(a.key, b.key));
      body.append(...keyed.map(({ row }) => row));
    });
  });
})();
