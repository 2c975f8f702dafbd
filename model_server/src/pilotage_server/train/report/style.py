"""The page's style sheet: one column, light and dark, prints well, loads nothing."""

from __future__ import annotations

CSS = """
:root{--ink:#1c2733;--soft:#5b6b7b;--line:#dfe5ea;--paper:#fff;--wash:#f5f7f9;--sea:#0b6e8f;--good:#1f8a5b;--bad:#c2472f;
--warn:#8a6100;--s0:#0b6e8f;--s1:#d9822b;--s2:#1f8a5b;--s3:#8e4ec6;--s4:#c2472f;--s5:#5b6b7b;--s6:#b08900;--s7:#d6409f}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9fb0c0;--line:#2b3742;--paper:#12181f;--wash:#1a222b;
--sea:#4cb4d6;--good:#4cc38a;--bad:#f0806a;--warn:#e2b93b;--s0:#4cb4d6;--s1:#f0a35e;--s2:#4cc38a;--s3:#bf8fe6;--s4:#f0806a;
--s5:#9fb0c0;--s6:#e2b93b;--s7:#f06fb8}}
*{box-sizing:border-box}
body{margin:0;background:var(--wash);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:900px;margin:0 auto;padding:32px 20px 80px}
header{border-left:6px solid var(--sea);padding:4px 0 4px 18px;margin-bottom:26px}
h1{margin:0;font-size:30px;line-height:1.2}
h2{font-size:21px;margin:0 0 10px}
h3{font-size:16px;margin:22px 0 6px}
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:22px 24px;margin:18px 0;
overflow-x:auto}
.lead{color:var(--soft);margin:6px 0 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:14px;margin:18px 0}
.tile{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.tile b{display:block;font-size:26px;line-height:1.2;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13.5px}
table{border-collapse:collapse;width:100%;font-size:14.5px;font-variant-numeric:tabular-nums}
th{text-align:left;color:var(--soft);font-weight:600;border-bottom:2px solid var(--line);padding:6px 10px 6px 0}
td{border-bottom:1px solid var(--line);padding:6px 10px 6px 0;vertical-align:top}
tr.chosen td{font-weight:600;background:color-mix(in srgb,var(--sea) 9%,transparent)}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.soft{color:var(--soft)}
svg{max-width:100%;height:auto;display:block;margin:8px 0}
svg text{fill:var(--ink);font-size:12.5px}
svg .tick{fill:var(--soft);font-size:11px}svg .axis{fill:var(--soft);font-size:12px}
svg .figure{font-variant-numeric:tabular-nums}
.grid{stroke:var(--line)}.bar{stroke:var(--sea);stroke-width:5;stroke-opacity:.4;stroke-linecap:round}
.bar-dot{fill:var(--sea)}.mark{stroke:var(--s1);stroke-width:5;stroke-opacity:.45;stroke-linecap:round}.mark-dot{fill:var(--s1)}
.line{fill:none;stroke-width:2}.dashed{stroke-dasharray:5 4;opacity:.75}
.s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}.s4{stroke:var(--s4)}.s5{stroke:var(--s5)}
.s6{stroke:var(--s6)}.s7{stroke:var(--s7)}.dot{fill:var(--paper);stroke-width:2}
.right{fill:var(--good)}.wrong{fill:var(--bad)}svg .count{font-size:12px}svg .light{fill:#fff}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:10px}
code{font:13.5px ui-monospace,monospace;background:var(--wash);padding:1px 5px;border-radius:4px}
footer{color:var(--soft);font-size:13px;margin-top:26px}
@media print{body{background:#fff}section,.tile{break-inside:avoid}}
"""
