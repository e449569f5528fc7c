# Sourced by demo.sh and test.sh. Makes <checkout>/.venv with what requirements.txt lists, or mends
# it, and sets `root` (the checkout) and `python` (the interpreter in .venv). Activates nothing.
# PYTHON=/path/to/python3 chooses the interpreter that .venv is made from.

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd -P)"
python="$root/.venv/bin/python"
begun="$root/.venv/begun" # is there while pip works: an interrupted .venv is made anew
log="${TMPDIR:-/tmp}/lam-install-$$.log"

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

find_python() { # the first interpreter that will do
  local name
  for name in ${PYTHON:+"$PYTHON"} $([ -n "${PYTHON:-}" ] || echo python3 python3.13 python3.12 python3.11); do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      printf '%s\n' "$name"
      return
    fi
  done
  return 1
}

shown() { # shown TEXT COMMAND...: the command's output goes to $log, the seconds go on the screen
  local text=$1 start=$SECONDS pid stopped= line='%s ... %d s\n'
  [ -t 1 ] && line='\r%s ... %d s'
  shift
  "$@" >>"$log" 2>&1 &
  pid=$!
  trap 'stopped=1; kill "$pid" 2>/dev/null' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    printf "$line" "$text" $((SECONDS - start))
    sleep 1.5
  done
  [ -t 1 ] && printf '\n'
  trap - INT TERM
  [ -z "$stopped" ] || fail "stopped; the next run starts $text over"
  wait "$pid" || {
    [ $? -gt 128 ] || rm -f "$begun" # not killed: pip gave up and left nothing half done
    tail -n 15 "$log" >&2
    fail "$text did not work, see above (all of it: $log); the next run tries again"
  }
}

lock() { # one installation at a time; without flock (macOS) nobody waits
  command -v flock >/dev/null || return 0
  exec 9<"$root/launch/requirements.txt"
  until flock -w 1.5 9; do printf 'waiting for another run that is installing\n'; done
}

install() { # install FILE: brings launch/FILE into .venv unless its stamp says it is there
  local file="$root/launch/$1" stamp="$root/.venv/$1.stamp" wanted
  wanted="$("$base" -c 'import sys; print(*sys.version_info[:3])') $(cksum <"$file")"
  up_to_date "$stamp" "$wanted" && return
  lock
  if ! up_to_date "$stamp" "$wanted"; then
    usable || make_venv
    rm -f "$stamp"
    touch "$begun"
    shown "installing $1 into .venv" "$python" -m pip install --no-input \
      --disable-pip-version-check --progress-bar off -r "$file" -c "$root/launch/requirements.txt"
    rm -f "$begun" "$log"
    printf '%s\n' "$wanted" >"$stamp" # last, so that an interrupted run is noticed
  fi
  exec 9<&-
}

up_to_date() { [ ! -e "$begun" ] && [ -x "$python" ] && [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }

usable() { # whether pip can work on this .venv
  local version='import sys; print(sys.version_info[:3])'
  [ ! -e "$begun" ] && [ "$("$python" -c "$version" 2>/dev/null)" = "$("$base" -c "$version")" ] &&
    "$python" -m pip --version >/dev/null 2>&1
}

make_venv() {
  "$base" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$base cannot make virtual environments; install its venv package (Debian: python3-venv)"
  shown "making .venv with $("$base" --version)" "$base" -m venv --clear "$root/.venv"
}

base="$(find_python)" ||
  fail "${PYTHON:-python3} does not start Python 3.11, 3.12 or 3.13; install one and name it: PYTHON=/path/to/python3"
install requirements.txt
