extension Stylesheet {
  /// Figures: panels beside each other as the width allows, and never so small that their text is below
  /// 9 points (12 pixels): what is wider than the screen scrolls, and says so. All panels of a page are of
  /// one width, however many a figure has.
  static let figures = """
    .panels { display: grid; gap: 1rem; align-items: start;
      grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
    figure { margin: 0; padding: 0.5rem; background: var(--card); border-radius: 0.5rem;
      overflow-x: auto; min-width: 0; }
    figure svg { display: block; width: 100%; height: auto; margin: 0 auto; color: var(--ink); }
    figure.wide { grid-column: 1 / -1; }
    .hint { display: none; position: sticky; left: 0; margin: 0; color: var(--faint); }
    @media (max-width: 60rem) { .wide .hint { display: block; } }
    .legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; margin: 0.75rem 0; padding: 0;
      list-style: none; }
    .legend li, .legend button { display: flex; align-items: center; gap: 0.4rem; }
    .legend button, th button { font: inherit; color: inherit; background: none; border: 0;
      padding: 0.15rem 0.25rem; cursor: pointer; border-radius: 0.25rem; text-align: inherit; }
    .legend button:hover, th button:hover { background: var(--line); }
    .legend button[aria-pressed=false] { opacity: 0.5; text-decoration: line-through; }
    .legend svg { width: 2.5rem; height: 1rem; flex: none; color: var(--ink); }
    .off { display: none; }
    th[aria-sort] button::after { content: " \\2195"; color: var(--faint); }
    th[aria-sort=ascending] button::after { content: " \\2191"; }
    th[aria-sort=descending] button::after { content: " \\2193"; }
    #value { position: fixed; z-index: 1; max-width: 20rem; padding: 0.25rem 0.5rem;
      border-radius: 0.25rem; background: var(--ink); color: var(--paper); pointer-events: none; }
    @media print {
      :root { --ink: #222222; --paper: #ffffff; --faint: #5c5c5c; --line: #d0d0d0; --card: #ffffff; }
      body { max-width: none; padding: 0; }
      nav, #value, .hint { display: none; }
      figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
      figure, .scroll { overflow: visible; background: none; }
      figure svg { min-width: 0 !important; }
    }
    """
}
