/// How the page looks: one column of text, tables that scroll by themselves, panels side by side as
/// the width allows; light or dark as the reader's system says.
enum Stylesheet {
  static let text = """
    :root { color-scheme: light dark; --ink: #222222; --paper: #ffffff; --faint: #5c5c5c;
      --line: #d0d0d0; --card: #f6f6f6; --link: #005a8d; }
    @media (prefers-color-scheme: dark) {
      :root { --ink: #e6e6e6; --paper: #16181b; --faint: #a8a8a8; --line: #44484d;
        --card: #1f2226; --link: #7cc4f2; }
    }
    * { box-sizing: border-box; }
    body { margin: 0 auto; max-width: 70rem; padding: 1rem; background: var(--paper);
      color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
    h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
    a { color: var(--link); }
    nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; padding: 0; list-style: none; }
    .note, .faint { color: var(--faint); }
    /* A shadow at the edges behind which there is more: covers of the paper's colour scroll with the table. */
    .scroll { overflow-x: auto; margin: 1rem 0; background:
      linear-gradient(to right, var(--paper) 40%, transparent) left / 2rem 100% no-repeat local,
      linear-gradient(to left, var(--paper) 40%, transparent) right / 2rem 100% no-repeat local,
      linear-gradient(to right, var(--faint), transparent) left / 0.6rem 100% no-repeat scroll,
      linear-gradient(to left, var(--faint), transparent) right / 0.6rem 100% no-repeat scroll; }
    table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
    caption { text-align: left; padding: 0.25rem 0; font-weight: 600; }
    caption span { display: inline-block; position: sticky; left: 0;
      max-width: min(68rem, calc(100vw - 2rem)); }
    th, td { padding: 0.2rem 0.75rem 0.2rem 0; border-bottom: 1px solid var(--line);
      text-align: left; vertical-align: top; }
    tbody th { font-weight: 400; }
    .number { text-align: right; white-space: nowrap; }
    td, tbody th { max-width: 36rem; min-width: 4rem; }
    summary { cursor: pointer; padding: 0.25rem 0; }
    """
}
