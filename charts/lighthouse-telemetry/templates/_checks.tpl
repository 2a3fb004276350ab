{{- /* Values that contradict each other, or lack what is needed: says which and why. */ -}}
{{- define "lighthouse-telemetry.check" -}}
{{- $values := .Values -}}
{{- $hmac := $values.secrets.lighthouse.hmac.secretKeyRef -}}
{{- $replicas := int $values.deployment.replicas -}}
{{- $election := include "lighthouse-telemetry.election" . -}}
{{- $cluster := include "lighthouse-telemetry.cluster-role" . -}}
{{- $env := $values.pod.env -}}

{{- if and (not $hmac.name) (not $values.webhooks.insecure) -}}
{{- fail "secrets.lighthouse.hmac.secretKeyRef.name is empty: name the Secret with the key that Lighthouse signs webhooks with, or take them from anybody with webhooks.insecure" -}}
{{- end -}}
{{- if and $hmac.name $values.webhooks.insecure -}}
{{- fail "webhooks.insecure takes webhooks from anybody, and secrets.lighthouse.hmac.secretKeyRef.name names a key to verify them with: leave one of them out" -}}
{{- end -}}
{{- if and $hmac.name (not $hmac.key) -}}
{{- fail "secrets.lighthouse.hmac.secretKeyRef.key is empty: say under which key of the Secret the token is" -}}
{{- end -}}
{{- if hasKey $env "LIGHTHOUSE_HMAC_KEY" -}}
{{- fail "pod.env.LIGHTHOUSE_HMAC_KEY would show the key to all who may read the Deployment: put it into a Secret and name that in secrets.lighthouse.hmac.secretKeyRef" -}}
{{- end -}}
{{- range list "OTEL_EXPORTER_OTLP_HEADERS" "OTEL_EXPORTER_OTLP_TRACES_HEADERS" "OTEL_EXPORTER_OTLP_METRICS_HEADERS" -}}
{{- if hasKey $env . -}}
{{- fail (printf "pod.env.%s would show its tokens to all who may read the Deployment: put them into a Secret and name that in exporter.headers.secretKeyRef" .) -}}
{{- end -}}
{{- end -}}

{{- $elsewhere := list -}}
{{- range list "TRACES_EXPORTER_ENDPOINT" "OTEL_EXPORTER_OTLP_ENDPOINT" "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" -}}
{{- if hasKey $env . -}}{{- $elsewhere = append $elsewhere . -}}{{- end -}}
{{- end -}}
{{- $chosen := or (hasKey $env "TRACES_EXPORTER_TYPE") (hasKey $env "OTEL_TRACES_EXPORTER") -}}
{{- $disabled := eq (get $env "OTEL_SDK_DISABLED" | toString | lower) "true" -}}
{{- $silent := or $disabled (has (get $env "TRACES_EXPORTER_TYPE" | toString) (list "none" "console")) (has (get $env "OTEL_TRACES_EXPORTER" | toString) (list "none" "console")) -}}
{{- if and (eq $values.exporter.type "otlp") (not $values.exporter.endpoint) (not $elsewhere) (not $silent) -}}
{{- fail "exporter.endpoint is empty: say where spans go, such as http://otel-collector.observability:4317, or set exporter.type to console or none" -}}
{{- end -}}
{{- if and $values.exporter.endpoint $elsewhere -}}
{{- fail (printf "exporter.endpoint and pod.env.%s both say where spans go: leave one of them out" (first $elsewhere)) -}}
{{- end -}}
{{- if and (ne $values.exporter.type "otlp") $values.exporter.endpoint -}}
{{- fail (printf "exporter.endpoint says where spans go, but exporter.type %s sends none: leave one of them out" $values.exporter.type) -}}
{{- end -}}
{{- if and (ne $values.exporter.type "otlp") $chosen -}}
{{- fail (printf "exporter.type is %s and pod.env chooses an exporter, too: leave one of them out" $values.exporter.type) -}}
{{- end -}}
{{- $tls := $values.exporter.tls -}}
{{- if and (or $tls.authority.secretName $tls.client.secretName) (hasPrefix "http://" $values.exporter.endpoint) -}}
{{- fail (printf "exporter.tls names certificates, but exporter.endpoint %s is plain text: write https://, or leave exporter.tls out" $values.exporter.endpoint) -}}
{{- end -}}
{{- if and $values.exporter.headers.secretKeyRef.name (not $values.exporter.headers.secretKeyRef.key) -}}
{{- fail "exporter.headers.secretKeyRef.key is empty: say under which key of the Secret the headers are" -}}
{{- end -}}

{{- if and $values.config.allNamespaces $values.config.namespaces -}}
{{- fail (printf "config.allNamespaces watches all namespaces and config.namespaces only %s: leave one of them out" (join ", " $values.config.namespaces)) -}}
{{- end -}}
{{- if and $values.config.allNamespaces (not $cluster) -}}
{{- fail "config.allNamespaces needs a ClusterRole, and rbac.clusterRole is false: leave one of them out" -}}
{{- end -}}
{{- if dig "rules" list ($values.role | default dict) -}}
{{- fail "role.rules is what the chart of the Go plugin took for all rights: here the rules follow from the kinds that are watched; put further ones into rbac.extraRules" -}}
{{- end -}}
{{- if hasSuffix "/lighthouse-telemetry-plugin" $values.image.repository -}}
{{- fail (printf "image.repository %s is that of the Go plugin, which does not know the options of this chart: leave it out, or name the image of lighthouse-telemetry" $values.image.repository) -}}
{{- end -}}
{{- if and (not $values.serviceAccount.create) (not $values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false and serviceAccount.name is empty: name the one that exists" -}}
{{- end -}}

{{- if and (gt $replicas 1) (not $election) -}}
{{- fail (printf "deployment.replicas is %d and leaderElection.enabled is false: each replica would export every span; leave one of them out" $replicas) -}}
{{- end -}}
{{- if and $values.state.existingClaim (gt $replicas 1) -}}
{{- fail (printf "state.existingClaim is one claim and deployment.replicas is %d: each replica needs a state directory of its own; use state.claim.enabled" $replicas) -}}
{{- end -}}
{{- if and $values.state.existingClaim $values.state.claim.enabled -}}
{{- fail (printf "state.existingClaim names the claim %s and state.claim.enabled makes new ones: leave one of them out" $values.state.existingClaim) -}}
{{- end -}}
{{- if and $values.state.existingClaim $election -}}
{{- fail "state.existingClaim and leaderElection.enabled: while a new Pod stands by for the old one, both would need the one claim; use state.claim.enabled" -}}
{{- end -}}
{{- if eq (int $values.service.port) 0 -}}
{{- fail "service.port is 0: say on which port Lighthouse finds the plugin" -}}
{{- end -}}

{{- range $name, $text := $values.mappers.texts -}}
{{- if hasKey $values.mappers.inline $name -}}
{{- fail (printf "mappers.inline and mappers.texts both have the mapper %s: leave one of them out" $name) -}}
{{- end -}}
{{- end -}}
{{- $names := or $values.mappers.inline $values.mappers.texts | empty | ternary list (list "inline") -}}
{{- range $values.mappers.configMaps -}}{{- $names = append $names . -}}{{- end -}}
{{- range $values.mappers.volumes -}}{{- $names = append $names .name -}}{{- end -}}
{{- range uniq $names -}}
{{- $name := . -}}
{{- $same := 0 -}}
{{- range $names -}}{{- if eq . $name -}}{{- $same = add1 $same -}}{{- end -}}{{- end -}}
{{- if gt (int $same) 1 -}}
{{- fail (printf "mappers names %s twice: each directory of mappers needs a name of its own" $name) -}}
{{- end -}}
{{- end -}}

{{- $context := $values.pod.securityContext -}}
{{- if or (eq (dig "runAsUser" "" $context | toString) "0") (eq (dig "runAsNonRoot" "" $context | toString) "false") -}}
{{- fail "pod.securityContext makes the plugin run as root, which it never needs: leave runAsUser and runAsNonRoot out, or give another user" -}}
{{- end -}}

{{- if and $values.networkPolicy.enabled $values.metrics.serviceMonitor.enabled (not $values.networkPolicy.metricsFrom) -}}
{{- fail "networkPolicy.metricsFrom is empty, so that nobody may read metrics, and metrics.serviceMonitor.enabled wants them read: say there who may" -}}
{{- end -}}
{{- if and $values.networkPolicy.enabled (not $values.networkPolicy.webhooksFrom) -}}
{{- fail "networkPolicy.webhooksFrom is empty: not even Lighthouse could send webhooks" -}}
{{- end -}}
{{- if and $values.admissionPolicy.enabled (semverCompare "<1.30-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "admissionPolicy.enabled needs Kubernetes 1.30, and this is %s: leave it out" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
