/// What a page does beyond showing everything: values of marks, methods that hide, tables that sort,
/// and a print of all that is folded. Without it nothing is missing. It loads nothing, keeps nothing,
/// and writes text only as text.
enum PageScript {
  /// Of `text`, for the page's security policy: no other script runs. A test computes it.
  static let digest = "sha256-5eNk8GQ+c3zspP90aAXh+KYGf/kUWFyCahLlbdHX22c="

  // Within CDATA, as the page is XML too.
  static let text = """
    /*<![CDATA[*/
    'use strict';
    (() => {
      const all = (selector, of = document) => [...of.querySelectorAll(selector)];
      const button = (place, press) => {
        const it = document.createElement('button');
        it.type = 'button';
        it.append(...place.childNodes);
        place.append(it);
        it.addEventListener('click', press);
        return it;
      };

      // Legends: a press hides a method in every figure; with the shift key, all others.
      const hidden = new Set();
      const entries = all('.legend li').map(place => {
        const name = place.dataset.entry;
        return { name, button: button(place, event => press(name, event.shiftKey)) };
      });
      const press = (name, others) => {
        if (others) {
          for (const entry of entries) hidden.add(entry.name);
          hidden.delete(name);
        } else if (!hidden.delete(name)) hidden.add(name);
        show();
      };
      const show = () => {
        for (const entry of entries) entry.button.setAttribute('aria-pressed', !hidden.has(entry.name));
        for (const part of all('svg [data-entry]'))
          part.classList.toggle('off', hidden.has(part.dataset.entry));
      };
      show();

      // Values: of the mark nearest to the pointer, or one after the other by the arrow keys.
      const tip = document.createElement('div');
      tip.id = 'value';
      tip.setAttribute('role', 'status');
      tip.hidden = true;
      document.body.append(tip);
      const tell = mark => {
        tip.hidden = !mark;
        if (!mark) return;
        const box = mark.getBoundingClientRect();
        tip.textContent = mark.dataset.value;
        const left = Math.min(box.right + 8, innerWidth - tip.offsetWidth - 8);
        tip.style.left = Math.max(left, 0) + 'px';
        tip.style.top = Math.max(box.top - tip.offsetHeight - 8, 0) + 'px';
      };
      const distance = (mark, x, y) => {
        const box = mark.getBoundingClientRect();
        return Math.hypot(Math.max(box.left - x, 0, x - box.right), Math.max(box.top - y, 0, y - box.bottom));
      };
      for (const picture of all('figure svg')) {
        const marks = all('title', picture).map(title => title.parentNode).filter(mark => mark !== picture);
        for (const mark of marks) {
          // In place of what the browser shows by itself.
          const title = mark.querySelector('title');
          mark.dataset.value = title.textContent;
          title.remove();
        }
        if (!marks.length) continue;
        const seen = () => marks.filter(mark => !mark.closest('.off'));
        let at = -1;
        picture.tabIndex = 0;
        picture.addEventListener('pointermove', event => {
          const near = seen().map(mark => [distance(mark, event.clientX, event.clientY), mark])
            .sort((a, b) => a[0] - b[0])[0];
          tell(near && near[0] < 24 ? near[1] : null);
        });
        for (const end of ['pointerleave', 'blur']) picture.addEventListener(end, () => tell(null));
        picture.addEventListener('keydown', event => {
          const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
          const shown = seen();
          if (!step || !shown.length) return;
          event.preventDefault();
          at = (at + step + shown.length) % shown.length;
          tell(shown[at]);
        });
      }
      addEventListener('scroll', () => tell(null), { passive: true });
      addEventListener('keydown', event => { if (event.key === 'Escape') tell(null); });

      // Tables: by a column upwards, downwards, and as they came. What has no value is last.
      const value = cell => {
        const text = (cell.dataset.value ?? cell.textContent).trim();
        const plain = text.replace(/^[≥≤<>~= ]+/, '');
        if (/^[+-]?inf(inity)?$/i.test(plain)) return plain[0] === '-' ? -Infinity : Infinity;
        if (plain === '' || plain === 'nan') return null;
        return /^[+-]?([0-9]*[.])?[0-9]+(e[+-]?[0-9]+)?(?![0-9a-z._-])/i.test(plain) ? parseFloat(plain) : text;
      };
      const order = (a, b) => typeof a !== typeof b ? (typeof a === 'number' ? -1 : 1)
        : typeof a === 'string' ? a.localeCompare(b, 'en', { numeric: true }) : a < b ? -1 : a > b ? 1 : 0;
      for (const table of all('table.sortable')) {
        const body = table.tBodies[0];
        const heads = all('thead th', table);
        if (!body || !heads.length || table.querySelector('[colspan], [rowspan]')) continue;
        const rows = [...body.rows];
        if (rows.length < 2) continue;
        heads.forEach((head, column) => {
          head.setAttribute('aria-sort', 'none');
          button(head, () => {
            const now = { none: 'ascending', ascending: 'descending', descending: 'none' }[head.ariaSort];
            for (const other of heads) other.setAttribute('aria-sort', other === head ? now : 'none');
            const sorted = now === 'none' ? rows : rows.map(row => [value(row.cells[column]), row])
              .sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null)
                : now === 'ascending' ? order(a, b) : order(b, a)).map(([, row]) => row);
            body.append(...sorted);
          });
        });
      }

      // Prints hold what is folded, but for the record of the run.
      let folded = [];
      addEventListener('beforeprint', () => {
        folded = all('details:not([open])').filter(it => !it.closest('.record, [id^=run]'));
        for (const it of folded) it.open = true;
      });
      addEventListener('afterprint', () => { for (const it of folded) it.open = false; });
    })();
    /*]]>*/
    """
}
