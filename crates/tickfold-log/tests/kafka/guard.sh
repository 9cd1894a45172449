#!/bin/sh
# Keeps one broker on behalf of a test process: `guard.sh DIR JAVA-ARGUMENT...`. Words on standard input start, kill,
# pause and resume it; the end of standard input, which also a killed test process leaves behind, ends the broker and
# removes DIR.
dir=$1
shift
# A Ctrl-C reaches the whole process group; the end of the input is the one signal that counts here.
trap '' INT TERM HUP
pid=
stop() {
  if [ -n "$pid" ]; then
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    pid=
  fi
}
while read -r word; do
  case $word in
    start)
      stop
      java "$@" </dev/null 2>&1 &
      pid=$!
      ;;
    kill)
      stop
      echo '== killed'
      ;;
    pause)
      kill -STOP "$pid"
      echo '== paused'
      ;;
    resume)
      kill -CONT "$pid"
      echo '== resumed'
      ;;
  esac
done
stop
rm -rf "$dir"
