{{- /* What the plugin does with the kinds of the built-in mappers, and nothing else. A test compares it with what they declare. */ -}}
{{- define "lighthouse-telemetry.rules" -}}
- apiGroups: [lighthouse.jenkins.io]
  resources: [lighthousejobs]
  verbs: [list, watch, patch]
- apiGroups: [tekton.dev]
  resources: [pipelineruns, taskruns, customruns]
  verbs: [list, watch, patch]
- apiGroups: [jenkins.io]
  resources: [pipelineactivities]
  verbs: [list, watch, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch]
{{- with .Values.rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end -}}
