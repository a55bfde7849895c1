"""Rows of small pictures with captions, as one picture for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

MARGIN = 12
LINE = 14
BACKGROUND, INK, FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)


def contact_sheet(
    title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Image.Image]]], scale: int = 2
) -> Image.Image:
    """`rows` are (caption, one picture per column); pictures are enlarged `scale` times without smoothing."""
    side = rows[0][1][0].width * scale
    cell = side + MARGIN
    row_height = side + LINE + MARGIN
    header = 3 * LINE + MARGIN
    sheet = Image.new(
        "RGB", (MARGIN + cell * len(columns), header + row_height * len(rows) + MARGIN), BACKGROUND
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default()
    draw.text((MARGIN, 4), title, INK, font=font)
    for index, name in enumerate(columns):
        for line, text in enumerate(name.split("\n")):
            draw.text((MARGIN + cell * index, 4 + LINE * (line + 1)), text, FAINT, font=font)
    for row, (caption, pictures) in enumerate(rows):
        top = header + row_height * row
        for index, picture in enumerate(pictures):
            sheet.paste(
                picture.convert("RGB").resize((side, side), Image.Resampling.NEAREST),
                (MARGIN + cell * index, top),
            )
        draw.text((MARGIN, top + side + 1), caption, INK, font=font)
    return sheet
