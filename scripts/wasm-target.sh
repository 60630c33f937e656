#!/usr/bin/env bash
# Makes sure that the installed rustc can build for wasm32-unknown-unknown.
# First by rustup; where its downloads can't be reached, by building the standard library
# from the source package that Debian ships for exactly this compiler.
set -euo pipefail

target=wasm32-unknown-unknown
libdir="$(rustc --print sysroot)/lib/rustlib/$target/lib"
have_target() { compgen -G "$libdir/libcore-*.rlib" >/dev/null; }
say() { printf '  %s\n' "$*" >&2; }

have_target && exit 0

rustup_says="rustup is not installed"
if command -v rustup >/dev/null; then
  say "adding the target $target with rustup"
  if rustup_says="$(timeout 120 rustup target add "$target" 2>&1)" && have_target; then
    exit 0
  fi
  rustup_says="$(tail -n 1 <<<"$rustup_says")"
fi

version="$(rustc -vV | sed -n 's/^release: //p')"
give_up() {
  cat >&2 <<END

The Rust target $target could not be set up for rustc $version.
  rustup:         ${rustup_says:-it timed out after 120 s}
  Debian source:  $1
What you can do: run 'rustup target add $target' where its downloads can be reached, or install
a rustc that already has the target, then run the same make command again.
END
  exit 1
}

say "rustup could not ($rustup_says)"
say "building the target's standard library from Debian's source of rustc $version"
command -v apt-get >/dev/null || give_up "this machine has no apt-get"

# One fixed folder: a standard library built elsewhere has other crate hashes, and a target/ made
# against the earlier one then fails to link.
work="/var/tmp/rust-std-$target-$version"
[ -w /var/tmp ] || work="$HOME/.cache/rust-std-$target-$version"
rm -rf "$work"
mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial"
trap 'rm -rf "$work"' EXIT
cd "$work"

machine_sources=/etc/apt/sources.list.d/debian.sources
[ -f "$machine_sources" ] || give_up "no $machine_sources to take Debian's archive from"
apt=(-o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/parts"
     -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -qq)

found=""
for suite in trixie-backports forky sid trixie; do
  # Only the first stanza is the main archive; the security archive has suites of its own.
  awk 'BEGIN { RS = ""; ORS = "\n\n" } /Components:.*main/ && !/-security/ { print; exit }' "$machine_sources" |
    sed -E "s/^Suites:.*/Suites: $suite/; /^#/d" >"$work/parts/rust.sources"
  timeout 180 apt-get "${apt[@]}" update >"$work/apt.log" 2>&1 || continue
  found="$(apt-cache "${apt[@]}" madison rust-src 2>/dev/null |
    awk -F'|' -v v="$version" '{ gsub(/ /, "", $2) } index($2, v "+") == 1 || index($2, v "-") == 1 { print $2; exit }')"
  [ -n "$found" ] && break
done
[ -n "$found" ] || give_up "no suite of the archive has rust-src $version; $(tail -n 1 "$work/apt.log")"

timeout 300 apt-get "${apt[@]}" download "rust-src=$found" >"$work/apt.log" 2>&1 ||
  give_up "downloading rust-src=$found failed: $(tail -n 1 "$work/apt.log")"
dpkg -x rust-src_*.deb src
# The package holds other trees of that name, for rustc's own tests.
library="$(compgen -G "$work/src/usr/src/rustc-*/library" | head -n 1)"
[ -f "$library/sysroot/Cargo.toml" ] || give_up "rust-src=$found has no library/sysroot"

say "compiling it (about half a minute)"
(
  cd "$library"
  # -Cembed-bitcode keeps fat LTO working against this build.
  env -u RUSTC_WRAPPER RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR="$work/target" \
    RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes" \
    cargo build --quiet --release --target "$target" --manifest-path sysroot/Cargo.toml \
    --features panic-unwind,compiler-builtins-mem
) >"$work/build.log" 2>&1 || give_up "the build failed: $(grep -m 1 '^error' "$work/build.log" || tail -n 1 "$work/build.log")"

mkdir -p "$libdir" || give_up "$libdir can't be written"
find "$work/target/$target/release/deps" -name '*.rlib' ! -name 'libsysroot*' -exec cp {} "$libdir/" \;
have_target || give_up "the build left no libcore in $libdir"
