{{- /* The Pod of the Deployment and of the StatefulSet. */ -}}
{{- define "lighthouse-telemetry.pod" -}}
{{- include "lighthouse-telemetry.check" . -}}
{{- $full := include "lighthouse-telemetry.fullname" . -}}
{{- $values := .Values -}}
{{- $pod := $values.pod -}}
{{- $config := $values.config -}}
{{- $hmac := $values.secrets.lighthouse.hmac.secretKeyRef -}}
{{- $headers := $values.exporter.headers.secretKeyRef -}}
{{- $tls := $values.exporter.tls -}}
{{- $election := include "lighthouse-telemetry.election" . -}}
{{- $namespaces := include "lighthouse-telemetry.namespaces" . -}}
{{- $mappers := $values.mappers -}}
metadata:
  labels: {{- include "lighthouse-telemetry.labels.with" (dict "root" . "more" $pod.labels) | nindent 4 }}
  {{- with $pod.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "lighthouse-telemetry.account" . }}
  automountServiceAccountToken: true
  enableServiceLinks: {{ $pod.enableServiceLinks }}
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- $own := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532 "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") }}
  securityContext: {{- mergeOverwrite $own $pod.securityContext | toYaml | nindent 4 }}
  {{- with $pod.activeDeadlineSeconds }}
  activeDeadlineSeconds: {{ . }}
  {{- end }}
  {{- with $pod.terminationGracePeriodSeconds }}
  terminationGracePeriodSeconds: {{ . }}
  {{- end }}
  {{- with $pod.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $pod.schedulerName }}
  schedulerName: {{ . }}
  {{- end }}
  {{- with $pod.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.hostAliases }}
  hostAliases: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $pod.topologySpreadConstraints }}
  topologySpreadConstraints: {{- toYaml $pod.topologySpreadConstraints | nindent 4 }}
  {{- else if gt (int $values.deployment.replicas) 1 }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "lighthouse-telemetry.selector" . | nindent 10 }}
  {{- end }}
  containers:
    - name: lighthouse-telemetry
      image: {{ include "lighthouse-telemetry.image" . | quote }}
      {{- with $values.image.pullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      args:
        - serve
        {{- if $namespaces }}
        - --namespace={{ $namespaces }}
        {{- else }}
        - --all-namespaces
        {{- end }}
        - --listen-addr=:8080
        - --admin-addr=:9090
        {{- if $hmac.name }}
        - --lighthouse-hmac-key-file=/etc/lighthouse-telemetry/hmac/key
        {{- else }}
        - --insecure-webhooks
        {{- end }}
        - --state-dir=/var/lib/lighthouse-telemetry
        - --state-max-size={{ $values.state.maxSize }}
        {{- if $election }}
        - --leader-election
        - --lease-name={{ $full }}
        - --lease-namespace={{ .Release.Namespace }}
        - --lease-duration={{ $values.leaderElection.leaseDuration }}
        {{- end }}
        {{- if ne $values.exporter.type "otlp" }}
        - --traces-exporter-type={{ $values.exporter.type }}
        {{- end }}
        {{- if or $mappers.inline $mappers.texts }}
        - --mappers=/mappers/inline
        {{- end }}
        {{- range $mappers.configMaps }}
        - --mappers=/mappers/{{ . }}
        {{- end }}
        {{- range $mappers.volumes }}
        - --mappers=/mappers/{{ .name }}
        {{- end }}
        {{- if $mappers.volumes }}
        - --mapper-compile-memory={{ $mappers.compileMemory }}
        {{- end }}
        - --resync-interval={{ $config.resyncInterval }}
        {{- with $config.settle }}
        - --settle={{ . }}
        {{- end }}
        {{- with $config.orphanDeadline }}
        - --orphan-deadline={{ . }}
        {{- end }}
        {{- with $config.replayWindow }}
        - --replay-window={{ . }}
        {{- end }}
        {{- with $config.childPullRequestDelay }}
        - --child-pr-delay={{ . }}
        {{- end }}
        {{- with $config.patchesPerSecond }}
        - --patches-per-second={{ . }}
        {{- end }}
        {{- with $config.clusterName }}
        - --cluster-name={{ . }}
        {{- end }}
        {{- with $config.metricAttributes }}
        - --metric-attributes={{ join "," . }}
        {{- end }}
        {{- with $config.metricSeries }}
        - --metric-series={{ int . }}
        {{- end }}
        - --log-level={{ $config.logLevel }}
        - --log-format={{ $config.logFormat }}
      {{- $variables := list }}
      {{- if $election }}
      {{- range $variable, $field := dict "POD_IP" "status.podIP" "POD_NAME" "metadata.name" }}
      {{- $variables = append $variables (dict "name" $variable "valueFrom" (dict "fieldRef" (dict "fieldPath" $field))) }}
      {{- end }}
      {{- end }}
      {{- $given := dict }}
      {{- with $values.exporter.endpoint }}
      {{- $_ := set $given "OTEL_EXPORTER_OTLP_ENDPOINT" . }}
      {{- end }}
      {{- with $values.exporter.protocol }}
      {{- $_ := set $given "OTEL_EXPORTER_OTLP_PROTOCOL" . }}
      {{- end }}
      {{- if $tls.authority.secretName }}
      {{- $_ := set $given "OTEL_EXPORTER_OTLP_CERTIFICATE" "/etc/lighthouse-telemetry/authority/ca.crt" }}
      {{- end }}
      {{- if $tls.client.secretName }}
      {{- $_ := set $given "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE" "/etc/lighthouse-telemetry/client/tls.crt" }}
      {{- $_ := set $given "OTEL_EXPORTER_OTLP_CLIENT_KEY" "/etc/lighthouse-telemetry/client/tls.key" }}
      {{- end }}
      {{- range $variable, $value := mergeOverwrite $given $pod.env }}
      {{- $variables = append $variables (dict "name" $variable "value" (toString $value)) }}
      {{- end }}
      {{- if $headers.name }}
      {{- $variables = append $variables (dict "name" "OTEL_EXPORTER_OTLP_HEADERS" "valueFrom" (dict "secretKeyRef" (dict "name" $headers.name "key" $headers.key))) }}
      {{- end }}
      {{- with $variables }}
      env: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: 8080
          protocol: TCP
        - name: admin
          containerPort: 9090
          protocol: TCP
      # Long enough for a disk that is slow to be read, and for big mappers to be compiled; until then nothing answers.
      startupProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 2
        failureThreshold: {{ empty $mappers.volumes | ternary 60 450 }}
      livenessProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 5
        timeoutSeconds: 5
      {{- with $pod.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: state
          mountPath: /var/lib/lighthouse-telemetry
        {{- if $hmac.name }}
        - name: hmac
          mountPath: /etc/lighthouse-telemetry/hmac
          readOnly: true
        {{- end }}
        {{- if $tls.authority.secretName }}
        - name: authority
          mountPath: /etc/lighthouse-telemetry/authority
          readOnly: true
        {{- end }}
        {{- if $tls.client.secretName }}
        - name: client
          mountPath: /etc/lighthouse-telemetry/client
          readOnly: true
        {{- end }}
        {{- if or $mappers.inline $mappers.texts }}
        - name: mappers-inline
          mountPath: /mappers/inline
          readOnly: true
        {{- end }}
        {{- range $mappers.configMaps }}
        - name: mappers-{{ . }}
          mountPath: /mappers/{{ . }}
          readOnly: true
        {{- end }}
        {{- range $mappers.volumes }}
        - name: mappers-{{ .name }}
          mountPath: /mappers/{{ .name }}
          readOnly: true
        {{- end }}
  volumes:
    {{- if $values.state.existingClaim }}
    - name: state
      persistentVolumeClaim:
        claimName: {{ $values.state.existingClaim }}
    {{- else if not $values.state.claim.enabled }}
    - name: state
      emptyDir: {{- toYaml $values.state.emptyDir | nindent 8 }}
    {{- end }}
    {{- if $hmac.name }}
    - name: hmac
      secret:
        secretName: {{ $hmac.name }}
        defaultMode: 288 # 0440
        items:
          - key: {{ $hmac.key }}
            path: key
    {{- end }}
    {{- if $tls.authority.secretName }}
    - name: authority
      secret:
        secretName: {{ $tls.authority.secretName }}
        defaultMode: 288 # 0440
        items:
          - key: {{ $tls.authority.key }}
            path: ca.crt
    {{- end }}
    {{- if $tls.client.secretName }}
    - name: client
      secret:
        secretName: {{ $tls.client.secretName }}
        defaultMode: 288 # 0440
    {{- end }}
    {{- if or $mappers.inline $mappers.texts }}
    - name: mappers-inline
      configMap:
        name: {{ $full }}-mappers
    {{- end }}
    {{- range $mappers.configMaps }}
    - name: mappers-{{ . }}
      configMap:
        name: {{ . }}
    {{- end }}
    {{- range $mappers.volumes }}
    - {{- merge (dict "name" (printf "mappers-%s" .name)) . | toYaml | nindent 6 }}
    {{- end }}
{{- end -}}
