#!/usr/bin/env bash
# Makes sure that there is a Chromium for the tests of the HTML report: the system's, Debian's package where this may be
# installed, else the one that Playwright brings.
#
#   tests/browser/install.sh PYTHON
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  if apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core >/dev/null; then
    exit 0
  fi
fi
"${1:?Say which Python has Playwright: tests/browser/install.sh PYTHON.}" -m playwright install chromium && exit 0
echo "error: no Chromium, and none could be installed. Install the package chromium, then try again." >&2
exit 3
