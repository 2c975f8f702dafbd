"""The page's style sheet: one column, light and dark, narrow screens, paper; loads nothing."""

from __future__ import annotations

CSS = """
:root{--ink:#1c2733;--soft:#526170;--line:#dfe5ea;--paper:#fff;--wash:#f4f6f8;--sea:#0b6e8f;--good:#17774d;--bad:#b23a24;
--warn:#805a00;--s0:#0b6e8f;--s1:#b9660f;--s2:#17774d;--s3:#8e4ec6;--s4:#b23a24;--s5:#526170;--s6:#8a6a00;--s7:#c02f8a}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#a6b5c4;--line:#2e3a45;--paper:#141b22;--wash:#0d1319;
--sea:#4cb4d6;--good:#4cc38a;--bad:#f0806a;--warn:#e2b93b;--s0:#4cb4d6;--s1:#f0a35e;--s2:#4cc38a;--s3:#bf8fe6;--s4:#f0806a;
--s5:#a6b5c4;--s6:#e2b93b;--s7:#f06fb8}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0;background:var(--wash);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1060px;margin:0 auto;padding:36px 20px 80px}
header{border-left:6px solid var(--sea);padding:4px 0 4px 18px;margin-bottom:26px}
h1{margin:0;font-size:30px;line-height:1.2}
h2{font-size:21px;margin:0 0 12px}
h3{font-size:16.5px;margin:26px 0 6px}
p{margin:8px 0}ul{margin:8px 0;padding-left:22px}li{margin:3px 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;margin:8px 0}dt{color:var(--soft)}dd{margin:0}
a{color:var(--sea)}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin:20px 2px;font-size:14px}
section{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:24px 26px;margin:18px 0}
.lead{color:var(--soft);margin:6px 0 0;font-size:17px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:14px;margin:18px 0}
.tile{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:16px 18px}
.tile b{display:block;font-size:29px;line-height:1.25;font-variant-numeric:tabular-nums;color:var(--sea)}
.tile span{color:var(--soft);font-size:13.5px;line-height:1.4;display:block}
.scroll{overflow-x:auto;margin:12px 0}
table{border-collapse:collapse;width:100%;font-size:14.5px;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;font-size:14.5px;padding:0 0 6px}
th,td{text-align:left;padding:6px 12px 6px 0;vertical-align:top}
thead th{color:var(--soft);font-weight:600;border-bottom:2px solid var(--line);vertical-align:bottom}
tbody th{font-weight:500}tbody th,tbody td{border-bottom:1px solid var(--line)}
tbody td:not(:last-child){white-space:nowrap}
tr.chosen>*{font-weight:700;background:color-mix(in srgb,var(--sea) 10%,transparent)}
.matrix{width:auto}.matrix caption{font-weight:400;color:var(--soft)}
.matrix td,.matrix th{text-align:center;padding:7px 9px;border:2px solid var(--paper);min-width:44px}
.matrix tbody th{text-align:right}.matrix small{display:block;font-size:11.5px}
.matrix .right{background:color-mix(in srgb,var(--good) var(--share),var(--paper))}
.matrix .wrong{background:color-mix(in srgb,var(--bad) var(--share),var(--paper))}
.matrix .margin{color:var(--soft);font-size:13px;font-weight:400}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.soft{color:var(--soft);font-size:14px}
figure{margin:16px 0}figcaption{font-weight:600;font-size:14.5px;margin-bottom:4px}
figcaption small{display:block;font-weight:400;color:var(--soft)}
svg{max-width:100%;height:auto;display:block}
svg text{fill:var(--ink);font-size:13px}
svg .tick{fill:var(--soft);font-size:12px}svg .axis{fill:var(--soft);font-size:12.5px}
svg .figure{font-variant-numeric:tabular-nums}
.grid{stroke:var(--line)}.bar{stroke:var(--sea);stroke-width:6;stroke-opacity:.35;stroke-linecap:round}
.bar-dot,.bar-fill{fill:var(--sea)}.mark{stroke:var(--s1);stroke-width:6;stroke-opacity:.4;stroke-linecap:round}
.mark-dot,.mark-fill{fill:var(--s1)}
.line{fill:none;stroke-width:2.2}.dashed{stroke-dasharray:5 4;opacity:.8}
.ghost{stroke:var(--soft);stroke-width:1;opacity:.45}
.s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}.s4{stroke:var(--s4)}.s5{stroke:var(--s5)}
.s6{stroke:var(--s6)}.s7{stroke:var(--s7)}.dot{fill:var(--paper);stroke-width:2}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:6px 26px;align-items:start}
code{font:13.5px ui-monospace,monospace;background:var(--wash);padding:1px 5px;border-radius:4px}
footer{color:var(--soft);font-size:13px;margin-top:26px}
@media (max-width:560px){main{padding:20px 12px 40px}section{padding:18px 16px}h1{font-size:25px}
.wide{overflow-x:auto}.wide svg{min-width:600px}}
@media print{:root{--wash:#fff}body{font-size:11pt}main{max-width:none;padding:0}nav{display:none}
section{border:0;border-top:1px solid var(--line);border-radius:0;padding:14px 0}figure,.tile,tr{break-inside:avoid}
h2,h3{break-after:avoid}}
"""
