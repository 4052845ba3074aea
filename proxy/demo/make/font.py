"""Draws the portal's sign font: four subject signs as outlines, ../bilim/assets/signs.woff.

Wants Python 3 with fonttools. The shapes are ours, so the font has no other licence than the project's.
The signs sit in the private use area: U+E001 drop (science), U+E002 plus (mathematics), U+E003 column (history),
U+E004 speech (languages).
"""

import pathlib

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

ASSETS = pathlib.Path(__file__).resolve().parent.parent / "bilim" / "assets"


def polygon(pen, *points):
    pen.moveTo(points[0])
    for point in points[1:]:
        pen.lineTo(point)
    pen.closePath()


def drop(pen):
    pen.moveTo((500, 860))
    pen.qCurveTo((780, 500), (780, 300))
    pen.qCurveTo((780, 30), (500, 20))
    pen.qCurveTo((220, 30), (220, 300))
    pen.qCurveTo((220, 500), (500, 860))
    pen.closePath()


def plus(pen):
    polygon(pen, (420, 800), (580, 800), (580, 480), (900, 480), (900, 320), (580, 320), (580, 0), (420, 0), (420, 320),
            (100, 320), (100, 480), (420, 480))


def column(pen):
    polygon(pen, (500, 880), (900, 700), (900, 620), (100, 620), (100, 700))
    for left in (180, 440, 700):
        polygon(pen, (left, 560), (left + 120, 560), (left + 120, 140), (left, 140))
    polygon(pen, (100, 80), (900, 80), (900, -20), (100, -20))


def speech(pen):
    polygon(pen, (160, 800), (840, 800), (900, 740), (900, 340), (840, 280), (460, 280), (260, 60), (260, 280), (160, 280),
            (100, 340), (100, 740))


def main():
    signs = {"drop": drop, "plus": plus, "column": column, "speech": speech}
    glyphs = {".notdef": TTGlyphPen(None).glyph()}
    for name, draw in signs.items():
        pen = TTGlyphPen(None)
        draw(pen)
        glyphs[name] = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({0xE001 + at: name for at, name in enumerate(signs)})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics({name: (1000, 0) for name in glyphs})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Bilim Signs", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, sTypoDescender=-100)
    builder.setupPost()
    builder.font["head"].created = builder.font["head"].modified = 0
    builder.font.recalcTimestamp = False
    builder.font.flavor = "woff"
    builder.save(str(ASSETS / "signs.woff"))


if __name__ == "__main__":
    main()
