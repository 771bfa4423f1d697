"""A page of a text: each word coloured by its topic, and the curve of where topics part."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hyperrec.errors import ModelError
from hyperrec.text import segments

if TYPE_CHECKING:
    from hyperrec.answers import Answers

COLOURS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#86bc86")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
TOLD = 3  # topics of a word that its hover tells
WORDS = 4  # words that name a topic
MOST = 20_000  # words of one page
WIDTH, HEIGHT = 900, 120  # of the curve, in pixels
STYLE = """
body { font: 16px/1.6 Georgia, serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.3rem } h2 { font: 600 .85rem system-ui, sans-serif; color: #555; margin: 1.2rem 0 .2rem }
#topics { font: .85rem/1.5 system-ui, sans-serif; list-style: none; padding: 0 }
#topics li { cursor: pointer; padding: 0 .3rem } #topics li.off { opacity: .35 }
#topics i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px }
#hover { font: .85rem/1.4 system-ui, sans-serif; position: sticky; bottom: 0; background: #f6f6f6; padding: .4rem .6rem }
svg { width: 100%; height: auto } b { font-weight: normal; border-radius: 3px; padding: 0 1px }
"""
SCRIPT = """
const hover = document.getElementById("hover"), names = JSON.parse(document.getElementById("names").textContent);
document.querySelectorAll("b").forEach(b => b.addEventListener("mouseover", () => {
  hover.textContent = b.textContent + ": " + b.dataset.t.split(" ").map(one => {
    const [topic, percent] = one.split(":"); return names[topic] + " " + percent + " %"; }).join("; "); }));
document.querySelectorAll("#topics li").forEach(li => li.addEventListener("click", () => {
  const off = li.classList.toggle("off");
  document.querySelectorAll('b[data-c="' + li.dataset.c + '"]').forEach(b => {
    b.style.background = off ? "none" : b.dataset.b; }); }));
document.querySelectorAll("b").forEach(b => { b.dataset.b = b.style.background; });
"""


def page(model: Answers, text: str, reading: pl.DataFrame, title: str, threshold: float) -> str:
    """HTML of one text, as its tokenizer shows it, and its reading. Raises ModelError for a long one."""
    if reading.height > MOST:
        raise ModelError(f"a page shows {MOST:,} words at most; the text has {reading.height:,}: give a part of it.")
    names = topic_names(model)
    vectors = reading["contextual"].to_numpy() if reading.height else np.empty((0, model.n_topics), np.float32)
    shown = [int(topic) for topic in np.argsort(-vectors.sum(axis=0), kind="stable")[: len(COLOURS)] if vectors[:, topic].sum() > 0]
    colour = {topic: COLOURS[place] for place, topic in enumerate(shown)}
    legend = "".join(
        f'<li data-c="{topic}"><i style="background:{colour[topic]}"></i>{html.escape(names[topic])}: '
        f"{100 * vectors[:, topic].mean():.0f} %</li>"
        for topic in shown
    )
    used = {topic: names[topic] for topic in np.unique(np.argsort(-vectors, axis=1)[:, :TOLD]).tolist()}
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style></head><body>',
            f"<h1>{html.escape(title)}</h1>",
            f'<ul id="topics">{legend}</ul>',
            _curve(reading, threshold),
            _words(text, reading, vectors, colour, names),
            '<div id="hover">Point at a word to see its topics; click a topic above to take its colour off.</div>',
            f'<script type="application/json" id="names">{_json(used)}</script><script>{SCRIPT}</script></body></html>',
        ]
    )


def _words(
    text: str, reading: pl.DataFrame, vectors: np.ndarray, colour: Mapping[int, str], names: Mapping[int, str]
) -> str:
    """The text, its known words coloured, under a heading for each segment."""
    text = CONTROL.sub("\ufffd", text)
    parts: list[str] = []
    at, segment = 0, 0
    told = dict(segments(reading).select("segment", "topic").iter_rows())
    best = np.argsort(-vectors, axis=1)[:, :TOLD]
    places = reading.select("start", "stop", "segment").iter_rows()
    for (start, stop, now), vector, topics in zip(places, vectors, best, strict=True):
        between = html.escape(text[at:start]).replace("\n", "<br>")
        if now != segment:
            before, line, after = between.rpartition("<br>")  # what opens the sentence belongs to the segment
            parts.append(f"{before}{line}<h2>{now}. {html.escape(names[told[now]])}</h2>{after}")
            segment = now
        else:
            parts.append(between)
        first = int(topics[0])
        share = 0.15 + 0.6 * float(vector[first])
        style = f"background:{colour[first]}{round(255 * share):02x}" if first in colour else "background:#0000000d"
        hover = " ".join(f"{topic}:{100 * vector[topic]:.0f}" for topic in topics if vector[topic] >= 0.005)
        parts.append(f'<b data-c="{first}" data-t="{hover}" style="{style}">{html.escape(text[start:stop])}</b>')
        at = stop
    return f"<article>{''.join(parts)}{html.escape(text[at:])}</article>".replace("\n", "<br>")


def _curve(reading: pl.DataFrame, threshold: float) -> str:
    """The distance between what is left and what is right of each word, and the boundaries of segments."""
    distance, n = reading["parting"].to_numpy(), max(reading.height - 1, 1)
    points = " ".join(f"{WIDTH * i / n:.1f},{HEIGHT * (1 - y):.1f}" for i, y in enumerate(distance))
    cuts = np.flatnonzero(np.diff(reading["segment"].to_numpy())) + 1
    places = [f"{WIDTH * i / n:.1f}" for i in cuts]
    lines = "".join(f'<line x1="{x}" x2="{x}" y1="0" y2="{HEIGHT}" stroke="#e15759"/>' for x in places)
    level = HEIGHT * (1 - threshold)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="where topics part"><rect width="{WIDTH}" height="{HEIGHT}" '
        f'fill="#fafafa"/><line x1="0" x2="{WIDTH}" y1="{level:.1f}" y2="{level:.1f}" stroke="#bbb" stroke-dasharray="4"/>{lines}'
        f'<polyline points="{points}" fill="none" stroke="#4e79a7" stroke-width="1.5"/></svg>'
    )


def topic_names(model: Answers) -> dict[int, str]:
    """Topic -> its number and its most probable words."""
    best = model.topics(model.item_modality, k=WORDS)
    name = pl.col("label").fill_null(pl.col("id").cast(pl.String)) if "label" in best.columns else pl.col("id").cast(pl.String)
    named = best.group_by("topic", maintain_order=True).agg(name.str.join(", ").alias("words"))
    return {topic: f"topic {topic}" for topic in range(model.n_topics)} | {
        topic: f"topic {topic} ({words})" for topic, words in named.iter_rows()
    }


def _json(value: Any) -> str:
    """JSON that may stand inside of a page."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
