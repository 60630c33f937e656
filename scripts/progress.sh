# Sourced by the scripts that compile.

# Reads what cargo prints, with its bar drawn, into a log, and shows how far it is: in place on a terminal, else a line for
# each quarter.
progress() {
  local part quarter shown=0
  while IFS= read -r -d $'\r' part || [ -n "$part" ]; do
    printf '%s\n' "$part" >>"$1"
    [[ "$part" =~ Building.*\ ([0-9]+)/([0-9]+) ]] || continue
    quarter=$((4 * BASH_REMATCH[1] / BASH_REMATCH[2]))
    if [ -t 2 ]; then
      printf '\r  %d of %d crates\033[K' "${BASH_REMATCH[@]:1}" >&2
    elif [ "$quarter" -gt "$shown" ]; then
      printf '  %d of %d crates\n' "${BASH_REMATCH[@]:1}" >&2
    fi
    shown=$quarter
  done
  [ ! -t 2 ] || printf '\r\033[K' >&2
}

# Runs a command that calls cargo. Its words are in the log; they are shown if it fails.
with_progress() { # log, command …
  local log="$1"
  shift
  : >"$log"
  CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=100 "$@" 2>&1 | progress "$log"
  return "${PIPESTATUS[0]}"
}
