#!/bin/sh
# Sends connections to a tracemap agent by rules of the system, and takes the rules away again.
#
# In: which connections, and who the agent is. Out: rules in chains of our own (TRACEMAP_*), for IPv4 and IPv6, in place of
# those that an earlier call made; with `--keep on` only while an agent listens. `down` removes everything, also where only
# half of it is there.
# Left out on purpose: everything that is not TCP, rules of others, which are never touched, and connections that are open
# already, which go on as they began.
#
# Needs root (CAP_NET_ADMIN), iptables, ip6tables and, for tproxy, ip. POSIX sh, so that small images can run it.
set -eu

usage() {
  cat <<'USAGE'
usage: tracemap-redirect.sh sidecar --uid UID [options]     redirect one pod's calls and requests; run in its network
       tracemap-redirect.sh node --pods CIDR[,CIDR] [options]
                                                            redirect the pods of a node; run in the node's network
       tracemap-redirect.sh down                            remove every rule

  --outbound MODE           redirect | off; node also tproxy        default: redirect
  --inbound MODE            redirect | tproxy | off                 default: redirect; node: off. On a node: requests that
                            come from other hosts
  --outbound-port PORT      the agent's outbound listener           default: 15001
  --inbound-port PORT       the agent's inbound listener            default: 15006
  --uid UID[,UID]           users whose connections are left alone: the agent's own (sidecar)
  --mark MARK               connections with this mark are left alone, as in agent.transparent.mark
  --source-mark MARK        as in agent.transparent.source_mark     default: 0x746d
  --skip-outbound-ports P[,P]  destination ports that are left alone, at most 15
  --skip-outbound-to CIDR[,CIDR]  destinations that are left alone, such as the collector's and the API server's
  --skip-inbound-ports P[,P]   ports of the pod, or of a node's pods, that are left alone
                            default: 7071 (the agent's administration); node: none
  --keep on | off           on: stay; the rules are there while the agent listens at the ports above, and are taken away
                            within a second where it does not, and on SIGTERM          default: off
  --ipv6 on | off           default: on where the system has it
USAGE
}

fail() {
  echo "tracemap-redirect: $*" >&2
  exit 2
}

# Routes of our own; any number that no other table of the host has.
table=29805
tproxy_mark=0x746e
outbound=redirect inbound= outbound_port=15001 inbound_port=15006
uids= mark= source_mark=0x746d pods= skip_ports= skip_to= skip_inbound= ipv6=auto keep=off

[ $# -gt 0 ] || { usage >&2; exit 2; }
what=$1
shift
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || fail "\`$1\` has no value"
  case $1 in
    --outbound) outbound=$2 ;;
    --inbound) inbound=$2 ;;
    --outbound-port) outbound_port=$2 ;;
    --inbound-port) inbound_port=$2 ;;
    --uid) uids=$2 ;;
    --mark) mark=$2 ;;
    --source-mark) source_mark=$2 ;;
    --pods) pods=$2 ;;
    --skip-outbound-ports) skip_ports=$2 ;;
    --skip-outbound-to) skip_to=$2 ;;
    --skip-inbound-ports) skip_inbound=$2 ;;
    --ipv6) ipv6=$2 ;;
    --keep) keep=$2 ;;
    *) usage >&2; fail "\`$1\` is no option" ;;
  esac
  shift 2
done

family_of() { case $1 in *:*) echo 6 ;; *) echo 4 ;; esac; }
each() { printf '%s' "$1" | tr ',' ' '; }

# Those of a list that are of family $2.
of_family() {
  for item in $(each "$1"); do
    [ "$(family_of "$item")" = "$2" ] && printf '%s ' "$item"
  done
  return 0
}

tables() { if [ "$1" = 6 ]; then echo ip6tables; else echo iptables; fi; }

# Runs the tool of a family, waiting for others who change rules.
ipt() {
  family=$1
  shift
  "$(tables "$family")" -w 10 "$@"
}

has_family() {
  [ "$1" = 4 ] && return 0
  case $ipv6 in
    off) return 1 ;;
    on) return 0 ;;
    *) [ -e /proc/net/if_inet6 ] && command -v ip6tables >/dev/null && ip6tables -w 10 -t nat -S >/dev/null 2>&1 ;;
  esac
}

# Removes a chain of ours and the jump to it. What is not there is no failure.
forget() {
  family=$1 in_table=$2 from=$3 chain=$4
  ipt "$family" -t "$in_table" -S "$from" 2>/dev/null | grep -- "-j $chain\$" | while read -r rule; do
    # shellcheck disable=SC2086
    ipt "$family" -t "$in_table" -D ${rule#-A } 2>/dev/null || true
  done
  ipt "$family" -t "$in_table" -F "$chain" 2>/dev/null || true
  ipt "$family" -t "$in_table" -X "$chain" 2>/dev/null || true
}

down() {
  release
  for family in 4 6; do
    command -v "$(tables $family)" >/dev/null || continue
    forget $family nat OUTPUT TRACEMAP_TRACKING
  done
}

# Connections that the agent has go on without rules as long as the system translates their addresses, which it does while it
# tracks connections, which it does while any rule asks for it. A chain that nobody jumps to is enough.
track() {
  for family in 4 6; do
    has_family $family || continue
    ipt $family -t nat -N TRACEMAP_TRACKING 2>/dev/null || continue
    ipt $family -t nat -A TRACEMAP_TRACKING -m conntrack --ctstate DNAT -j RETURN
  done
}

# Takes the rules away; connections that the agent has go on.
release() {
  for family in 4 6; do
    command -v "$(tables $family)" >/dev/null || continue
    forget $family nat OUTPUT TRACEMAP_OUTBOUND
    forget $family nat PREROUTING TRACEMAP_OUTBOUND
    forget $family nat PREROUTING TRACEMAP_INBOUND
    forget $family mangle PREROUTING TRACEMAP_INBOUND
    forget $family mangle PREROUTING TRACEMAP_OUTBOUND
    forget $family mangle OUTPUT TRACEMAP_SOURCE
    command -v ip >/dev/null || continue
    for own in "$tproxy_mark" "$source_mark"; do
      while ip -$family rule del fwmark "$own" lookup $table 2>/dev/null; do :; done
    done
    ip -$family route flush table $table 2>/dev/null || true
  done
}

chain() {
  family=$1 in_table=$2 name=$3
  ipt "$family" -t "$in_table" -N "$name"
  if [ -n "$mark" ]; then
    ipt "$family" -t "$in_table" -A "$name" -m mark --mark "$mark" -j RETURN
  fi
}

# Link-local addresses are beside this host and nowhere else: the metadata of clouds knows pods by their address, and would take
# the agent's for theirs.
skip_destinations() {
  family=$1 in_table=$2 name=$3
  for to in $(of_family "169.254.0.0/16,fe80::/10" "$family"); do
    ipt "$family" -t "$in_table" -A "$name" -d "$to" -j RETURN
  done
  for to in $(of_family "$skip_to" "$family"); do
    ipt "$family" -t "$in_table" -A "$name" -d "$to" -j RETURN
  done
  if [ -n "$skip_ports" ]; then
    ipt "$family" -t "$in_table" -A "$name" -p tcp -m multiport --dports "$skip_ports" -j RETURN
  fi
}

# Marked packets are this host's own, whatever their destination.
local_table() {
  family=$1 own=$2
  if [ "$family" = 6 ]; then all=::/0; else all=0.0.0.0/0; fi
  ip -"$family" rule add fwmark "$own" lookup $table
  ip -"$family" route replace local $all dev lo table $table
}

# The rule that sends a connection to a listener. A connection from before the system tracked any is new to it in the middle,
# and would be reset by a listener that has never heard of it: only those that begin are taken.
redirect() {
  family=$1 name=$2 port=$3
  shift 3
  ipt "$family" -t nat -A "$name" "$@" -p tcp --syn -j REDIRECT --to-ports "$port"
}

# The rules that hand a connection to a listener while it keeps its destination. Packets of connections that the agent has
# accepted go to it; those of connections that were there before the rules, and answers, are left alone.
tproxy() {
  family=$1 name=$2 port=$3
  ipt "$family" -t mangle -A "$name" -p tcp -j TPROXY --on-port "$port" --tproxy-mark "$tproxy_mark"
}

tproxy_known() {
  family=$1 name=$2
  ipt "$family" -t mangle -A "$name" -i lo -j RETURN
  ipt "$family" -t mangle -A "$name" -p tcp -m socket --transparent -j MARK --set-mark "$tproxy_mark"
  ipt "$family" -t mangle -A "$name" -p tcp -m socket --transparent -j ACCEPT
  ipt "$family" -t mangle -A "$name" -p tcp -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
  # A connection from before the system tracked any is new to it in the middle.
  ipt "$family" -t mangle -A "$name" -p tcp ! --syn -m socket -j RETURN
}

# Answers to connections that the agent makes with its caller's address find back to the agent.
preserve_source() {
  family=$1
  ipt "$family" -t mangle -N TRACEMAP_SOURCE
  ipt "$family" -t mangle -A TRACEMAP_SOURCE -m mark --mark "$source_mark" -j CONNMARK --save-mark
  ipt "$family" -t mangle -A TRACEMAP_SOURCE -m connmark --mark "$source_mark" -j CONNMARK --restore-mark
  ipt "$family" -t mangle -A OUTPUT -p tcp -j TRACEMAP_SOURCE
  local_table "$family" "$source_mark"
}

sidecar_outbound() {
  family=$1
  chain "$family" nat TRACEMAP_OUTBOUND
  for uid in $(each "$uids"); do
    ipt "$family" -t nat -A TRACEMAP_OUTBOUND -m owner --uid-owner "$uid" -j RETURN
  done
  # Calls within the pod are its own affair.
  ipt "$family" -t nat -A TRACEMAP_OUTBOUND -o lo -j RETURN
  ipt "$family" -t nat -A TRACEMAP_OUTBOUND -m addrtype --dst-type LOCAL -j RETURN
  skip_destinations "$family" nat TRACEMAP_OUTBOUND
  redirect "$family" TRACEMAP_OUTBOUND "$outbound_port"
  ipt "$family" -t nat -A OUTPUT -p tcp -j TRACEMAP_OUTBOUND
}

sidecar_inbound() {
  family=$1
  if [ "$inbound" = redirect ]; then in_table=nat; else in_table=mangle; fi
  chain "$family" $in_table TRACEMAP_INBOUND
  [ "$inbound" = redirect ] || tproxy_known "$family" TRACEMAP_INBOUND
  ipt "$family" -t $in_table -A TRACEMAP_INBOUND -m addrtype ! --dst-type LOCAL -j RETURN
  if [ -n "$skip_inbound" ]; then
    ipt "$family" -t $in_table -A TRACEMAP_INBOUND -p tcp -m multiport --dports "$skip_inbound" -j RETURN
  fi
  if [ "$inbound" = redirect ]; then
    redirect "$family" TRACEMAP_INBOUND "$inbound_port"
  else
    tproxy "$family" TRACEMAP_INBOUND "$inbound_port"
    local_table "$family" "$tproxy_mark"
    preserve_source "$family"
  fi
  ipt "$family" -t $in_table -A PREROUTING -p tcp -j TRACEMAP_INBOUND
}

node_outbound() {
  family=$1
  if [ "$outbound" = redirect ]; then in_table=nat; else in_table=mangle; fi
  chain "$family" $in_table TRACEMAP_OUTBOUND
  [ "$outbound" = redirect ] || tproxy_known "$family" TRACEMAP_OUTBOUND
  # What is for this host (its agents, its kubelet) stays as it is.
  ipt "$family" -t $in_table -A TRACEMAP_OUTBOUND -m addrtype --dst-type LOCAL -j RETURN
  skip_destinations "$family" $in_table TRACEMAP_OUTBOUND
  for from in $(of_family "$pods" "$family"); do
    if [ "$outbound" = redirect ]; then
      redirect "$family" TRACEMAP_OUTBOUND "$outbound_port" -s "$from"
    else
      ipt "$family" -t mangle -A TRACEMAP_OUTBOUND -s "$from" -p tcp -j TPROXY --on-port "$outbound_port" --tproxy-mark "$tproxy_mark"
    fi
  done
  [ "$outbound" = redirect ] || local_table "$family" "$tproxy_mark"
  # Before the rules of others: those send a connection to a service's address on to one of its pods, and the call is named
  # by where it was going all the same.
  ipt "$family" -t $in_table -I PREROUTING -p tcp -j TRACEMAP_OUTBOUND
}

# Requests to the node's pods. Those of pods on this node are calls, which the rules above take first.
node_inbound() {
  family=$1
  if [ "$inbound" = redirect ]; then in_table=nat; else in_table=mangle; fi
  chain "$family" $in_table TRACEMAP_INBOUND
  [ "$inbound" = redirect ] || tproxy_known "$family" TRACEMAP_INBOUND
  for of in $(of_family "$pods" "$family"); do
    # A pod is no caller from outside, whatever becomes of its calls.
    ipt "$family" -t $in_table -A TRACEMAP_INBOUND -s "$of" -j RETURN
  done
  if [ -n "$skip_inbound" ]; then
    ipt "$family" -t $in_table -A TRACEMAP_INBOUND -p tcp -m multiport --dports "$skip_inbound" -j RETURN
  fi
  for to in $(of_family "$pods" "$family"); do
    if [ "$inbound" = redirect ]; then
      redirect "$family" TRACEMAP_INBOUND "$inbound_port" -d "$to"
    else
      ipt "$family" -t mangle -A TRACEMAP_INBOUND -d "$to" -p tcp -j TPROXY --on-port "$inbound_port" --tproxy-mark "$tproxy_mark"
    fi
  done
  if [ "$inbound" = tproxy ]; then
    [ "$outbound" = tproxy ] || local_table "$family" "$tproxy_mark"
  fi
  ipt "$family" -t $in_table -A PREROUTING -p tcp -j TRACEMAP_INBOUND
}

# Half of the rules is worse than none.
abandon() {
  [ "$1" -eq 0 ] || { echo "tracemap-redirect: failed; every rule is removed again" >&2; down; }
}

up() {
  track
  release
  for family in 4 6; do
    has_family $family || continue
    if [ "$what" = sidecar ]; then
      [ "$outbound" = off ] || sidecar_outbound $family
      [ "$inbound" = off ] || sidecar_inbound $family
    elif [ -n "$(of_family "$pods" $family)" ]; then
      [ "$outbound" = off ] || node_outbound $family
      [ "$inbound" = off ] || node_inbound $family
    fi
  done
}

# Whether somebody listens at each port that rules lead to.
listening() {
  for port in $([ "$outbound" = off ] || echo "$outbound_port") $([ "$inbound" = off ] || echo "$inbound_port"); do
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
      grep -qi "^ *[0-9]*: [0-9a-f]*:$(printf %04x "$port") [0-9a-f]*:0000 0a " || return 1
  done
}

stay() {
  trap 'trap - EXIT; release; exit 0' TERM INT
  there=no
  while :; do
    if listening; then
      [ "$there" = yes ] || { up; there=yes; echo "tracemap-redirect: connections are redirected" >&2; }
    elif [ "$there" = yes ]; then
      release
      there=no
      echo "tracemap-redirect: no agent listens; connections pass by" >&2
    fi
    sleep 1 &
    wait $!
  done
}

case $keep in on | off) ;; *) fail "\`--keep $keep\` is neither on nor off" ;; esac
case $what in
  down)
    down
    exit
    ;;
  sidecar)
    inbound=${inbound:-redirect} skip_inbound=${skip_inbound:-7071}
    case $outbound in redirect | off) ;; *) fail "\`--outbound $outbound\` is no mode of a sidecar: write redirect or off" ;; esac
    case $inbound in redirect | tproxy | off) ;; *) fail "\`--inbound $inbound\` is no mode: write redirect, tproxy or off" ;; esac
    if [ "$outbound" != off ] && [ -z "$uids$mark" ]; then
      fail "nobody is left alone: name the agent's user with --uid, or its connections would come back to it"
    fi
    ;;
  node)
    inbound=${inbound:-off}
    case $outbound in redirect | tproxy | off) ;; *) fail "\`--outbound $outbound\` is no mode: write redirect, tproxy or off" ;; esac
    case $inbound in redirect | tproxy | off) ;; *) fail "\`--inbound $inbound\` is no mode: write redirect, tproxy or off" ;; esac
    [ -n "$pods" ] || fail "--pods is missing: the addresses whose calls are redirected, such as --pods 10.244.1.0/24"
    ;;
  -h | --help | help)
    usage
    exit
    ;;
  *)
    usage >&2
    fail "\`$what\` is none of sidecar, node, down"
    ;;
esac
trap 'abandon $?' EXIT
if [ "$keep" = on ]; then stay; else up; fi
