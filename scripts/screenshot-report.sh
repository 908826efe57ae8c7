#!/bin/sh
# Pictures of a report in a real browser: at 400 and 1280 pixels, light and dark.
#
#   scripts/screenshot-report.sh report.html pictures [HEIGHT]
#
# Needs Chromium (Debian: apt-get install chromium). The page is shown in a frame, because no window is as narrow
# as a telephone.
set -eu
page=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
height=${3:-6000}
for width in 400 1280; do
    for scheme in 0:dark 1:light; do
        frame="$folder/frame.html"
        printf '<body style="margin:0"><iframe src="file://%s" style="border:0;width:%spx;height:%spx"></iframe>' \
            "$page" "$width" "$height" > "$frame"
        chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --allow-file-access-from-files \
            --blink-settings=preferredColorScheme="${scheme%%:*}" --window-size="$((width < 520 ? 520 : width)),$height" \
            --screenshot="$folder/$width-${scheme##*:}.png" "file://$frame" 2> /dev/null
        rm "$frame"
    done
done
ls "$folder"
