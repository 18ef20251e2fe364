# Answers the HTTP requests of one connection, one after the other, until the client ends it. `nc` starts one for each.
#
# It keeps connections open, as most real servers do and busybox's httpd does not: what a proxy has idle when a replica stops is
# a danger of its own. The environment makes a revision bad: STATUS is another status, DELAY_S how long each answer takes, neither for
# /health and /slow. SLOW_S is how long /slow takes.
cr=$(printf '\r')
says="$ROOKERY_REPLICA $ROOKERY_NODE"
while read -r _ path _; do
  while read -r line && [ "$line" != "$cr" ]; do :; done
  status="200 OK"
  case $path in
    /health) ;;
    /slow) sleep "${SLOW_S:-2}" ;;
    *)
      status=${STATUS:-200 OK}
      [ -z "$DELAY_S" ] || sleep "$DELAY_S"
      ;;
  esac
  printf 'HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s' "$status" "${#says}" "$says"
done
