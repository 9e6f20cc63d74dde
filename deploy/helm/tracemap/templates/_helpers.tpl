{{- define "tracemap.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a part. Of a list: the root and the part. It never changes, as selectors cannot. */}}
{{- define "tracemap.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "tracemap.labels" -}}
{{- $root := index . 0 -}}
{{ include "tracemap.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{- define "tracemap.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* What no container of ours may do. */}}
{{- define "tracemap.confined" -}}
runAsUser: 10001
runAsGroup: 10001
runAsNonRoot: true
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{/* Likewise for root with some capabilities. Of a list: their names. */}}
{{- define "tracemap.root" -}}
runAsUser: 0
runAsNonRoot: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL], add: [{{ join ", " . }}] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "tracemap.httpGet" -}}
httpGet: { path: {{ index . 0 }}, port: {{ index . 1 }} }
{{- end -}}

{{/* Where the agents ask for the plan; empty where they do not, or `agent.config.plan` names somebody. */}}
{{- define "tracemap.planUrl" -}}
{{- $agent := .Values.agent -}}
{{- $sampling := default dict (get $agent.config "sampling") -}}
{{- $own := default dict (get $agent.config "plan") -}}
{{- if and $agent.enabled $agent.plan.enabled (not (hasKey $own "url")) (not (hasKey $sampling "remote")) -}}
{{- if $agent.plan.url -}}
{{ $agent.plan.url }}
{{- else -}}
{{ include "tracemap.ownPlanUrl" . }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The plan of the chart's own collector. Where its page wants what the chart does not know, somebody has to say it. */}}
{{- define "tracemap.ownPlanUrl" -}}
{{- $config := .Values.collector.config -}}
{{- $closed := or (hasKey $config "tenants") (dig "web" "access" "" $config) (dig "web" "tls" "" $config) -}}
{{- if and .Values.collector.enabled (not .Values.agent.endpoint) (not $closed) -}}
http://{{ include "tracemap.fullname" . }}-collector:7070/api/v1/plan
{{- end -}}
{{- end -}}

{{/* The agent's section as the chart writes it, with `agent.config` over it. */}}
{{- define "tracemap.agentConfig" -}}
{{- $agent := .Values.agent -}}
{{- $any := .Values.bindAddress -}}
{{- $scheme := ternary "https" "http" .Values.tls.enabled -}}
{{- $own := printf "%s://%s-collector:4317" $scheme (include "tracemap.fullname" .) -}}
{{- $export := dict "endpoint" (default $own $agent.endpoint) "compression" "zstd" -}}
{{- $buffer := dict "max_size" $agent.buffer.maxSize -}}
{{- if ne $agent.buffer.type "memory" -}}
{{- $_ := set $buffer "path" "/var/lib/tracemap-agent" -}}
{{- end -}}
{{- $_ := set $export "buffer" $buffer -}}
{{- if .Values.tls.enabled -}}
{{- $tls := dict -}}
{{- if not $agent.endpoint -}}
{{- $name := printf "%s-collector.%s.svc" (include "tracemap.fullname" .) .Release.Namespace -}}
{{- $_ := set $tls "server_name" (default $name .Values.tls.serverName) -}}
{{- else if .Values.tls.serverName -}}
{{- $_ := set $tls "server_name" .Values.tls.serverName -}}
{{- end -}}
{{- if .Values.tls.agent.secretName -}}
{{- $_ := set $tls "ca" "/etc/tracemap-tls/ca.crt" -}}
{{- end -}}
{{- if .Values.tls.clientAuth -}}
{{- $_ := set $tls "cert" "/etc/tracemap-tls/tls.crt" -}}
{{- $_ := set $tls "key" "/etc/tracemap-tls/tls.key" -}}
{{- end -}}
{{- $_ := set $export "tls" $tls -}}
{{- end -}}
{{- $config := dict "export" $export "drain_delay" "5s" -}}
{{- $admin := dict "listen" (printf "%s:7071" $any) -}}
{{- if .Values.tokens.enabled -}}
{{- $_ := set $export "headers_from" (dict "authorization" "/etc/tracemap-tokens/authorization") -}}
{{- $readers := dict "name" "readers" "file" "/etc/tracemap-tokens/readers" -}}
{{- $_ := set $admin "access" (dict "tokens" (list $readers)) -}}
{{- end -}}
{{- $_ := set $config "admin" $admin -}}
{{- with include "tracemap.planUrl" . -}}
{{- $plan := dict "url" . -}}
{{- if and $.Values.tokens.enabled (not $.Values.agent.plan.url) -}}
{{- $_ := set $plan "token_file" "/etc/tracemap-tokens/reader" -}}
{{- end -}}
{{- $_ := set $config "plan" $plan -}}
{{- end -}}
{{- $otlp := dict "grpc" (printf "%s:%d" $any (int $agent.otlp.grpcPort)) "http" (printf "%s:%d" $any (int $agent.otlp.httpPort)) -}}
{{- $_ := set $config "otlp" $otlp -}}
{{- if $agent.podWatch.enabled -}}
{{- $_ := set $config "kubernetes" (dict "pods" (dict "watch" true)) -}}
{{- end -}}
{{- if $agent.proxy.enabled -}}
{{- $outbound := dict "listen" (printf "%s:%d" $any (int $agent.proxy.port)) "mode" "proxy" -}}
{{- $_ := set $config "node" (dict "outbound" $outbound) -}}
{{- end -}}
{{- if $agent.redirect.enabled -}}
{{- $outbound := dict "listen" (printf "%s:%d" $any (int $agent.redirect.outboundPort)) "allow" $agent.redirect.pods -}}
{{- $node := dict "outbound" $outbound -}}
{{- if $agent.redirect.inbound -}}
{{- $inbound := dict "listen" (printf "%s:%d" $any (int $agent.redirect.inboundPort)) "allow" $agent.redirect.pods -}}
{{- $_ := set $node "inbound" $inbound -}}
{{- end -}}
{{- $_ := set $config "node" $node -}}
{{- end -}}
{{- toYaml (dict "agent" (mustMergeOverwrite $config (deepCopy $agent.config))) -}}
{{- end -}}

{{/* The collector's file: its section, `generate` and `services`, with what the values say over it. */}}
{{- define "tracemap.collectorConfig" -}}
{{- $collector := .Values.collector -}}
{{- $any := .Values.bindAddress -}}
{{- $otlp := dict "grpc" (printf "%s:4317" $any) "http" (printf "%s:4318" $any) -}}
{{- if .Values.tls.enabled -}}
{{- $tls := dict "cert" "/etc/tracemap-tls/tls.crt" "key" "/etc/tracemap-tls/tls.key" -}}
{{- if .Values.tls.clientAuth -}}
{{- $_ := set $tls "client_ca" "/etc/tracemap-tls/ca.crt" -}}
{{- end -}}
{{- $_ := set $otlp "tls" $tls -}}
{{- end -}}
{{- $web := dict "listen" (printf "%s:7070" $any) -}}
{{- if .Values.tokens.enabled -}}
{{- $senders := dict "name" "senders" "file" "/etc/tracemap-tokens/senders" -}}
{{- $readers := dict "name" "readers" "file" "/etc/tracemap-tokens/readers" -}}
{{- $writers := dict "name" "writers" "file" "/etc/tracemap-tokens/writers" "may" "write" -}}
{{- $_ := set $otlp "access" (dict "tokens" (list $senders)) -}}
{{- $_ := set $web "access" (dict "tokens" (list $readers $writers)) -}}
{{- end -}}
{{- $config := dict "otlp" $otlp "web" $web "data_dir" "/var/lib/tracemap" -}}
{{- $_ := set $config "journal" (dict "max_size" "4GiB") -}}
{{- $_ := set $config "store" (dict "max_size" "10GiB") -}}
{{- $grafana := dict "collector_url" (printf "http://%s-collector.%s.svc:7070" (include "tracemap.fullname" .) .Release.Namespace) -}}
{{- $generate := dict "grafana" $grafana -}}
{{- if and .Values.publish.enabled .Values.publish.dashboards.enabled -}}
{{- $_ := set $grafana "sidecar" (dict "namespace" .Release.Namespace) -}}
{{- end -}}
{{- if and .Values.publish.enabled .Values.publish.rules.enabled -}}
{{- $kubernetes := dict "namespace" .Release.Namespace "labels" .Values.publish.rules.labels -}}
{{- $_ := set $generate "alerts" (dict "notify" (dict "kubernetes" $kubernetes)) -}}
{{- end -}}
{{- if .Values.publish.enabled -}}
{{- $objects := list -}}
{{- if .Values.publish.dashboards.enabled -}}
{{- $objects = append $objects "dashboards" -}}
{{- end -}}
{{- if .Values.publish.rules.enabled -}}
{{- $objects = append $objects "rules" -}}
{{- if .Values.publish.rules.alertmanagerConfig -}}
{{- $objects = append $objects "alertmanager_config" -}}
{{- end -}}
{{- end -}}
{{- $to := dict "objects" $objects "namespace" .Release.Namespace "instance" .Release.Name -}}
{{- if .Values.publish.forceConflicts -}}
{{- $_ := set $to "force" true -}}
{{- end -}}
{{- $_ := set $config "publish" (dict "kubernetes" $to) -}}
{{- end -}}
{{- $file := dict "collector" (mustMergeOverwrite $config (deepCopy $collector.config)) -}}
{{- $_ := set $file "generate" (mustMergeOverwrite $generate (deepCopy $collector.generate)) -}}
{{- if $collector.services -}}
{{- $_ := set $file "services" $collector.services -}}
{{- end -}}
{{- toYaml $file -}}
{{- end -}}

{{/* What the schema of the values cannot say. */}}
{{- define "tracemap.check" -}}
{{- $v := .Values -}}
{{- if not (or $v.agent.enabled $v.collector.enabled) -}}
{{- fail "`agent.enabled` and `collector.enabled` are both false: there is nothing to install" -}}
{{- end -}}
{{- if and $v.collector.enabled (ne (int $v.collector.replicas) 1) -}}
{{- $why := "there can be one collector, as two would each see half of a trace: give it more cores by `collector.resources`" -}}
{{- fail (printf "`collector.replicas` is %v, but %s" $v.collector.replicas $why) -}}
{{- end -}}
{{- if and $v.agent.enabled (not $v.collector.enabled) (not $v.agent.endpoint) -}}
{{- fail "`collector.enabled` is false: say in `agent.endpoint` where the agents send to, such as `http://collector.example.com:4317`" -}}
{{- end -}}
{{- if $v.tls.enabled -}}
{{- if and $v.collector.enabled (not $v.tls.collector.secretName) -}}
{{- fail "`tls.enabled` is true: name in `tls.collector.secretName` a Secret with `tls.crt` and `tls.key`" -}}
{{- end -}}
{{- if and $v.agent.enabled $v.tls.clientAuth (not $v.tls.agent.secretName) -}}
{{- fail "`tls.clientAuth` is true: name in `tls.agent.secretName` a Secret with `tls.crt`, `tls.key` and `ca.crt`" -}}
{{- end -}}
{{- end -}}
{{- if $v.tokens.enabled -}}
{{- if and $v.collector.enabled (not $v.tokens.collector.secretName) -}}
{{- fail "`tokens.enabled` is true: name in `tokens.collector.secretName` a Secret with `senders`, `readers` and `writers`" -}}
{{- end -}}
{{- if and $v.agent.enabled (not $v.tokens.agent.secretName) -}}
{{- fail "`tokens.enabled` is true: name in `tokens.agent.secretName` a Secret with `authorization`, `readers` and `reader`" -}}
{{- end -}}
{{- end -}}
{{- if $v.agent.enabled -}}
{{- if and $v.agent.proxy.enabled $v.agent.redirect.enabled -}}
{{- fail "`agent.proxy.enabled` and `agent.redirect.enabled` are both true: calls come to the agent one way or the other" -}}
{{- end -}}
{{- if and (or $v.agent.proxy.enabled $v.agent.redirect.enabled) (not $v.agent.podWatch.enabled) -}}
{{- fail "`agent.podWatch.enabled` is false, but `agent.proxy` and `agent.redirect` know their callers by it" -}}
{{- end -}}
{{- if $v.agent.redirect.enabled -}}
{{- if not $v.agent.redirect.image.repository -}}
{{- $has := "`sh`, `iptables`, `ip6tables` and `ip`" -}}
{{- fail (printf "`agent.redirect.enabled` is true: name in `agent.redirect.image.repository` an image with %s" $has) -}}
{{- end -}}
{{- if not $v.agent.redirect.pods -}}
{{- fail "`agent.redirect.enabled` is true: write in `agent.redirect.pods` the networks of the pods, such as `10.244.0.0/16`" -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled $v.collector.enabled (not $v.networkPolicy.nodes) -}}
{{- $why := "agents then have the addresses of their nodes, so write the nodes' networks in `networkPolicy.nodes`" -}}
{{- fail (printf "`agent.redirect.enabled` is true: %s" $why) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $v.publish.enabled -}}
{{- if not $v.collector.enabled -}}
{{- fail "`publish.enabled` is true, but there is no collector to publish from: set `collector.enabled`" -}}
{{- end -}}
{{- if not (or $v.publish.dashboards.enabled $v.publish.rules.enabled) -}}
{{- fail "`publish.enabled` is true, but neither `publish.dashboards.enabled` nor `publish.rules.enabled` is" -}}
{{- end -}}
{{- end -}}
{{- end -}}
