"""Turns a terminal's output into a picture: `script -qec "timeout -s INT 5 bulaq demo 2>/dev/null" /dev/null | python3 terminal.py > demo.svg`.

Reads text with SGR colours on standard input; the display of progress goes to standard error and is left out.
"""

import html
import re
import sys

COLOURS = {"31": "#ff8a80", "32": "#8bd99a", "36": "#7fd3e0"}
WIDTH, HEIGHT, MARGIN = 8.43, 21, 22


def spans(line):
    """The line's parts as (text, attributes)."""
    style = {}
    for number, part in enumerate(re.split(r"\x1b\[([0-9;]*)m", line)):
        if number % 2 == 0:
            if part:
                yield part, dict(style)
            continue
        for code in part.split(";"):
            if code in ("", "0"):
                style = {}
            elif code == "1":
                style["font-weight"] = "700"
            elif code == "2":
                style["fill"] = "#9fb3b8"
            elif code in COLOURS:
                style["fill"] = COLOURS[code]


def main():
    text = sys.stdin.buffer.read().decode("utf-8", "replace").replace("\r\n", "\n")
    text = re.sub(r"\x1b\[[0-9;?]*[A-LN-Za-ln-z]", "", text)
    lines = [line.rstrip() for line in text.replace("^C", "").strip("\n").split("\n")]
    columns = max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines)
    width, height = columns * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}">')
    print('<rect width="100%" height="100%" rx="12" fill="#10262a"/>')
    print('<g font-family="ui-monospace, \'DejaVu Sans Mono\', \'Liberation Mono\', monospace" font-size="14" fill="#e8f1f2">')
    for row, line in enumerate(lines):
        column, y = 0, MARGIN + 15 + row * HEIGHT
        for part, style in spans(line):
            attributes = "".join(f' {name}="{value}"' for name, value in style.items())
            x, length = MARGIN + column * WIDTH, len(part) * WIDTH
            print(f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}"{attributes}>{html.escape(part).replace(" ", "&#160;")}</text>')
            column += len(part)
    print("</g></svg>")


main()
