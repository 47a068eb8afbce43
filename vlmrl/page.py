"""The frame of a self-contained HTML page: its policy and its style sheet."""

from __future__ import annotations

import html


def page(title: str, body: str) -> str:
    """Return a whole HTML page with `title` (escaped here) around `body` (HTML, escaped by the caller)."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The browser itself refuses whatever is not on the page, scripts included.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:\">"
        f'<meta name="color-scheme" content="light dark"><style>{STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>\n"
    )


STYLE = """
:root{--paper:#fbfaf7;--card:#fff;--ink:#1c2027;--soft:#5d6470;--faint:#e4e2dc;--a:#2563c9;--b:#1f8a5b;--c:#a8621b}
@media(prefers-color-scheme:dark){:root{--paper:#101318;--card:#171b22;--ink:#eceff4;--soft:#9aa3b2;--faint:#2a303a;
--a:#6fb0ff;--b:#5ccd92;--c:#e3a45c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:56px 28px 72px}
header{max-width:820px;margin-bottom:36px}
.kicker{margin:0 0 14px;font-size:13px;letter-spacing:.06em;color:var(--soft)}
h1{margin:0 0 14px;text-wrap:balance;
font:500 clamp(28px,4.4vw,46px)/1.16 "Iowan Old Style","Palatino Linotype",Palatino,Georgia,serif}
h1 q,header p q{quotes:"\\201C" "\\201D"}
header p{margin:2px 0;color:var(--soft)}
h2{margin:0 0 14px;font-size:20px;font-weight:600}
section,details{margin-top:40px}
.figures{display:flex;flex-wrap:wrap;gap:14px 44px;margin:0;padding:20px 0;
border-block:1px solid var(--faint)}
.figures dt{font-size:13px;color:var(--soft)}
.figures dd{margin:0;font-size:26px;font-weight:600;font-variant-numeric:tabular-nums}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:20px}
figure{margin:0;padding:16px;background:var(--card);border:1px solid var(--faint);border-radius:10px}
figcaption{font-size:13.5px;color:var(--soft)}
figcaption strong{color:var(--ink);font-size:15px}
video{display:block;width:100%;border-radius:6px;background:#0f1219;margin-bottom:10px}
svg.plot{display:block;width:100%;height:auto;margin-top:8px;font-size:12px;font-variant-numeric:tabular-nums}
svg .grid{stroke:var(--faint)}
svg .axis{stroke:var(--soft)}
svg .tick,svg .label{fill:var(--soft)}
svg .last{fill:var(--ink);font-size:13px;font-weight:600;
paint-order:stroke;stroke:var(--card);stroke-width:4px}
svg .a{--tone:var(--a)}svg .b{--tone:var(--b)}svg .c{--tone:var(--c)}
svg .line{fill:none;stroke:var(--tone);stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}
svg .raw{fill:none;stroke:var(--tone);stroke-width:1;opacity:.35}
svg .area{fill:var(--tone);opacity:.08}
svg .dot{fill:var(--tone);stroke:var(--card);stroke-width:1.5}
svg .hit{fill:transparent}
.empty{color:var(--soft)}
summary{cursor:pointer;font-size:20px;font-weight:600}
table{width:100%;margin-top:12px;border-collapse:collapse;font-size:14px}
th,td{padding:6px 12px 6px 0;border-bottom:1px solid var(--faint);text-align:left;vertical-align:top;
overflow-wrap:anywhere}
th{width:34%;font-weight:400;color:var(--soft)}
pre,td{font-family:ui-monospace,"SF Mono",Menlo,Consolas,monospace;font-size:13px}
pre{margin:0;padding:14px 16px;background:var(--card);border:1px solid var(--faint);border-radius:8px;
white-space:pre-wrap;overflow-wrap:anywhere}
@media print{body{background:#fff}details>table{display:table}}
"""
