#!/bin/sh
# Draws hero.svg as WebP in two widths and as PNG, into ../bilim/assets.
# Wants Debian's packages chromium and ffmpeg. Run it in this folder after a change to hero.svg.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars \
    --user-data-dir="$work/profile" --window-size=960,400 --screenshot="$work/hero.png" "file://$here/hero.svg"
for width in 480 960; do
    ffmpeg -v error -y -i "$work/hero.png" -vf "scale=$width:-1:flags=lanczos" -quality 82 "$here/../bilim/assets/hero-$width.webp"
done
ffmpeg -v error -y -i "$work/hero.png" -vf "scale=480:-1:flags=lanczos,split[a][b];[a]palettegen=96[p];[b][p]paletteuse=dither=none" \
    -frames:v 1 "$here/../bilim/assets/hero-480.png"
