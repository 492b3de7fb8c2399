"""svg: horizontal bar charts as SVG text: one panel a group of bars, each panel with a scale of its own.

    Bar("plain", 1.2, 1.1, 1.4), Bar("basalt", 1.5, 1.4, 1.6, aim=1.44)
    text = chart("Delivery", "CPU ms a message", [("small mail", bars)], "where and when it was measured")

A bar far beyond the others of its panel is cut, and says so; its number is right anyway.
"""
import collections
from xml.sax.saxutils import escape

# low and high: the range of the samples; aim: a mark on the bar, or None
Bar = collections.namedtuple("Bar", "name value low high aim", defaults=(None,))

COLOURS = {"plain": "#8d99a6", "zlib-lz4": "#4c8fbd", "mail_crypt": "#d08a3e", "basalt": "#2f7d5b", "basalt-all": "#2f7d5b",
           "basalt-maps": "#2f7d5b", "rspamd": "#4c8fbd", "classic": "#d08a3e"}
WIDTH, LABEL_W, VALUE_W = 860, 190, 110
BAR_H, GAP, PANEL_GAP, TOP, BOTTOM = 15, 4, 20, 66, 44
CUT = 3.0  # times the second longest
FONT = 'font-family="DejaVu Sans, Helvetica, Arial, sans-serif"'
BACK, INK, FAINT = "#ffffff", "#22282e", "#6b747d"


def number(x):
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def text(x, y, words, size=12, ink=INK, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" {FONT} font-size="{size}" fill="{ink}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(words)}</text>')


def scale_of(bars):
    """The value that fills the width: the longest bar, unless it dwarfs the rest; aims are always in sight."""
    values = sorted((bar.value for bar in bars), reverse=True)
    top = values[0] if len(values) < 2 or values[0] <= CUT * values[1] else CUT * values[1] / 2
    return max([top, *(bar.aim for bar in bars if bar.aim)]) or 1


def draw_bar(bar, y, scale, suffix):
    room = WIDTH - LABEL_W - VALUE_W
    x, length = LABEL_W, min(bar.value / scale, 1.0) * room
    out = [f'<rect x="{x}" y="{y}" width="{length:.1f}" height="{BAR_H}" fill="{COLOURS.get(bar.name, FAINT)}"/>',
           text(x - 8, y + BAR_H - 3, bar.name, 11, FAINT, "end")]
    if bar.value > scale:  # two strokes: cut
        for dx in (-14, -8):
            out.append(f'<path d="M{x + length + dx:.1f} {y + BAR_H} l5 {-BAR_H}" stroke="{BACK}" stroke-width="3"/>')
    elif bar.high > bar.low:
        a, b = (x + min(v / scale, 1.0) * room for v in (bar.low, bar.high))
        out.append(f'<path d="M{a:.1f} {y + BAR_H / 2} H{b:.1f}" stroke="{INK}" stroke-width="1.2"/>')
        length = max(length, b - x)
    if bar.aim:
        at = x + bar.aim / scale * room
        length = max(length, at - x) if at - x < length + 60 else length  # the number stands behind the mark
        out.append(f'<path d="M{at:.1f} {y - 2} v{BAR_H + 4}" stroke="#b3261e" stroke-width="2"/>')
    out.append(text(x + length + 8, y + BAR_H - 3, number(bar.value) + suffix(bar), 11))
    return out


def draw_panel(title, bars, y, against):
    reference = next((bar.value for bar in bars if bar.name == against), None)

    def suffix(bar):
        return f"  ({bar.value / reference:.2f})" if reference and bar.name != against else ""

    out, scale = [text(16, y + 12, title, 12, weight="bold")], scale_of(bars)
    y += 20
    for bar in bars:
        out += draw_bar(bar, y, scale, suffix)
        y += BAR_H + GAP
    return out, y + PANEL_GAP


def chart(title, unit, panels, footer, against="plain"):
    """panels: [(title, [Bar])]; footer: list of lines; against: whose bar the others are compared with."""
    body, y = [], TOP
    for panel_title, bars in panels:
        drawn, y = draw_panel(panel_title, bars, y, against)
        body += drawn
    height = y + BOTTOM + 14 * (len(footer) - 1)
    head = [text(16, 28, title, 18, weight="bold"),
            text(16, 48, f"{unit}; in brackets times {against}; black: range of the samples; red: the aim", 11, FAINT)]
    foot = [text(16, y + 16 + 14 * i, line, 10, FAINT) for i, line in enumerate(footer)]
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
                      f'viewBox="0 0 {WIDTH} {height}">', f'<rect width="{WIDTH}" height="{height}" fill="{BACK}"/>',
                      *head, *body, *foot, "</svg>", ""])
