"""Draws the water cycle as a twelve-second video: ../bilim/assets/water-cycle.webm and its poster.

Wants Python 3 with numpy, and Debian's ffmpeg. Run it after a change; the result is checked in.
Every frame is painted here, so that the film has no source, licence or author but ours.
"""

import pathlib
import subprocess
import sys

import numpy as np

WIDTH, HEIGHT, RATE, SECONDS = 640, 360, 15, 12
ASSETS = pathlib.Path(__file__).resolve().parent.parent / "bilim" / "assets"
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)


def paint(frame, mask, colour, strength=1.0):
    """Lays a colour (0-255 triple) over the frame where mask is 1, softly where it is between."""
    alpha = (np.clip(mask, 0, 1) * strength)[..., None]
    frame[:] = frame * (1 - alpha) + np.array(colour, np.float32) * alpha


def disc(x, y, rx, ry=None):
    ry = ry or rx
    distance = np.hypot((X - x) / rx, (Y - y) / ry)
    return np.clip((1 - distance) * min(rx, ry) + 0.5, 0, 1)


def below(line):
    """Everything under a curve that is given as y for every x."""
    return np.clip(Y - line + 0.5, 0, 1)


def ridge(*points):
    xs, ys = zip(*points)
    return np.interp(X[0], xs, ys)[None, :]


def stroke(points, width):
    """A line through points, by its distance to each segment."""
    best = np.full((HEIGHT, WIDTH), 1e9, np.float32)
    for (ax, ay), (bx, by) in zip(points, points[1:]):
        dx, dy = bx - ax, by - ay
        along = np.clip(((X - ax) * dx + (Y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        best = np.minimum(best, np.hypot(X - ax - along * dx, Y - ay - along * dy))
    return np.clip(width / 2 - best + 0.5, 0, 1)


def cloud(x, y, size):
    parts = [(0, 0, 62, 24), (-28, -12, 24, 24), (8, -22, 32, 32), (40, -8, 22, 20)]
    return np.max([disc(x + dx * size, y + dy * size, rx * size, ry * size) for dx, dy, rx, ry in parts], axis=0)


def ease(value):
    value = min(max(value, 0.0), 1.0)
    return value * value * (3 - 2 * value)


MOUNTAINS = ridge((0, 270), (95, 130), (145, 190), (215, 105), (330, 262), (640, 400))
SNOW = (157 + 9 * np.abs((X[0] / 22) % 2 - 1))[None, :]
GRASS = ridge((0, 268), (120, 256), (300, 270), (420, 312), (470, 360), (640, 400))
SEA_X = 420 - (Y - 290) * 0.55
RIVER = [(212, 262), (250, 268), (285, 284), (330, 292), (375, 300), (425, 316)]
UNDERGROUND = [(120, 320), (200, 318), (300, 330), (390, 344)]


def scene(second):
    """One frame. Four acts of three seconds: evaporation, clouds, rain, run-off."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.float32)
    dark = ease((second - 5.2) / 1.2) * (1 - ease((second - 9.3) / 1.5))
    top = np.array([120, 190, 226], np.float32) * (1 - 0.25 * dark)
    low = np.array([226, 243, 250], np.float32) * (1 - 0.15 * dark)
    frame[:] = top + (low - top) * (Y / 280).clip(0, 1)[..., None]
    warm = 1 - ease((second - 3) / 2) + ease((second - 10) / 2)
    paint(frame, np.exp(-(np.hypot(X - 560, Y - 62) / 90) ** 2), (255, 226, 150), 0.35 + 0.35 * warm)
    paint(frame, disc(560, 62, 30 + 1.5 * np.sin(second * 3)), (246, 184, 62))
    paint(frame, below(MOUNTAINS), (118, 134, 158))
    paint(frame, np.minimum(below(MOUNTAINS), 1 - below(SNOW)), (250, 252, 255))
    paint(frame, below(GRASS), (106, 168, 79))
    paint(frame, below(GRASS + 40), (169, 116, 79))
    sea = np.clip(np.minimum(X - SEA_X, Y - 292 - 2.2 * np.sin(X / 17 + second * 2.2)) + 0.5, 0, 1)
    paint(frame, sea, (47, 143, 184))
    for row in range(3):
        crest = np.abs(Y - (314 + 17 * row) - 3 * np.sin(X / 15 + second * 2 + row)) < 1.4
        paint(frame, crest * sea * (np.sin(X / 38 - second + row * 2) > 0), (190, 226, 241), 0.8)

    flow = ease((second - 7.6) / 1.4)
    paint(frame, stroke(RIVER, 4 + 4 * flow), (47, 143, 184))
    paint(frame, stroke(UNDERGROUND, 3) * (np.sin(X / 5 - second * 6) > 0), (120, 196, 226), 0.35 + 0.65 * flow)
    for n in range(9):
        at = (n / 9 + second * 0.22) % 1
        x = np.interp(at, np.linspace(0, 1, len(RIVER)), [p[0] for p in RIVER])
        y = np.interp(at, np.linspace(0, 1, len(RIVER)), [p[1] for p in RIVER])
        paint(frame, disc(x, y, 2.2), (226, 244, 250), flow)

    vapour = (1 - ease((second - 3.6) / 1.2)) + ease((second - 10.6) / 1.2)
    for n in range(16):
        at = (n * 0.377 + second * 0.30) % 1
        x = 452 + (n * 67) % 160 + 7 * np.sin(second * 2 + n)
        paint(frame, disc(x, 292 - 175 * at, 3.2), (255, 255, 255), vapour * np.sin(np.pi * at) * 0.95)

    grown = ease((second - 1.6) / 2.6) * (1 - ease((second - 9.0) / 1.6))
    if grown > 0.02:
        drift = ease((second - 3.4) / 2.6)
        x, y = 500 - 335 * drift, 112 - 22 * drift
        grey = 255 - 105 * dark
        paint(frame, cloud(x, y, 0.35 + 0.95 * grown), (grey, grey + 2, min(grey + 6, 255)), 0.96 * min(1, grown * 1.6))
    rain = ease((second - 5.8) / 0.5) * (1 - ease((second - 8.8) / 0.8))
    if rain > 0.02:
        for n in range(44):
            at = (n * 0.619 + second * 1.15) % 1
            x = 92 + (n * 53) % 150 - 10 * at
            y = 92 + at * (120 + (n * 29) % 50)
            paint(frame, stroke([(x, y), (x - 2, y + 9)], 2.2), (38, 118, 168), rain * 0.9)
    return frame.clip(0, 255).astype(np.uint8)


def main():
    target = ASSETS / "water-cycle.webm"
    encoder = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE),
         "-i", "-", "-c:v", "libvpx-vp9", "-b:v", "0", "-crf", "36", "-g", "30", "-row-mt", "1", "-pix_fmt", "yuv420p",
         "-fflags", "+bitexact", "-flags", "+bitexact", "-an", str(target)],
        stdin=subprocess.PIPE,
    )
    for number in range(RATE * SECONDS):
        encoder.stdin.write(scene(number / RATE).tobytes())
    encoder.stdin.close()
    if encoder.wait() != 0:
        sys.exit("ffmpeg failed")
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-ss", "6.6", "-i", str(target), "-frames:v", "1", "-quality", "80",
                    str(ASSETS / "water-cycle-poster.webp")], check=True)
    print(f"{target.name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
