{{- define "lighthouse-telemetry.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* The suffixes -admin and -mappers must fit in. */ -}}
{{- define "lighthouse-telemetry.fullname" -}}
{{- $name := include "lighthouse-telemetry.name" . -}}
{{- $release := .Release.Name -}}
{{- $full := contains $name $release | ternary $release (printf "%s-%s" $release $name) -}}
{{- .Values.fullnameOverride | default $full | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "lighthouse-telemetry.selector" -}}
app.kubernetes.io/name: {{ include "lighthouse-telemetry.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "lighthouse-telemetry.labels" -}}
{{ include "lighthouse-telemetry.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- /* Labels of an object that may have more: (dict "root" $ "more" labels). */ -}}
{{- define "lighthouse-telemetry.labels.with" -}}
{{- $own := include "lighthouse-telemetry.labels" .root | fromYaml -}}
{{- merge $own .more | toYaml -}}
{{- end -}}

{{- define "lighthouse-telemetry.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "lighthouse-telemetry.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "lighthouse-telemetry.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* Namespaces that are watched; empty for all. */ -}}
{{- define "lighthouse-telemetry.namespaces" -}}
{{- if not .Values.config.allNamespaces -}}
{{- .Values.config.namespaces | default (list .Release.Namespace) | uniq | join "," -}}
{{- end -}}
{{- end -}}

{{- /* Not empty if so. */ -}}
{{- define "lighthouse-telemetry.cluster-role" -}}
{{- $asked := .Values.rbac.clusterRole -}}
{{- if kindIs "invalid" $asked -}}
{{- .Values.config.allNamespaces | ternary "yes" "" -}}
{{- else -}}
{{- $asked | ternary "yes" "" -}}
{{- end -}}
{{- end -}}

{{- /* Not empty if so. */ -}}
{{- define "lighthouse-telemetry.election" -}}
{{- $asked := .Values.leaderElection.enabled -}}
{{- if kindIs "invalid" $asked -}}
{{- gt (int .Values.deployment.replicas) 1 | ternary "yes" "" -}}
{{- else -}}
{{- $asked | ternary "yes" "" -}}
{{- end -}}
{{- end -}}

{{- /* Where Lighthouse sends webhooks to. */ -}}
{{- define "lighthouse-telemetry.endpoint" -}}
{{- $port := int .Values.service.port -}}
{{- printf "http://%s.%s%s/lighthouse/events" (include "lighthouse-telemetry.fullname" .) .Release.Namespace (eq $port 80 | ternary "" (printf ":%d" $port)) -}}
{{- end -}}
