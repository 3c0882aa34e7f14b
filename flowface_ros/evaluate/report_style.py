"""The look of the report."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#68707a;--line:#d9dde2;--paper:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--dim:#9aa3ad;--line:#3a4048;--paper:#15181c}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}p{color:var(--dim);max-width:44rem}
table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.2rem .9rem .2rem 0;text-align:right;border-bottom:1px solid var(--line);
font-variant-numeric:tabular-nums;font-weight:400}
td:first-child,th:first-child{text-align:left}th{color:var(--dim);font-size:.85rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));
gap:.8rem;margin:1rem 0}
.tiles div{border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem}
.tiles b{display:block;font-size:1.35rem;font-weight:600}
.tiles span{color:var(--dim);font-size:.85rem}
figure{margin:.6rem 0}svg{width:100%;max-width:44rem;font-size:11px}svg text{fill:var(--dim)}
.grid{stroke:var(--line)}.legend{font-size:.85rem;color:var(--dim)}
.legend span{margin-right:1.2rem}
.legend i{display:inline-block;width:.9rem;height:.25rem;margin-right:.35rem;vertical-align:middle}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:.8rem}
.pictures img{width:100%;border-radius:4px;display:block}.pictures figcaption{font-size:.85rem;
color:var(--dim)}
"""
