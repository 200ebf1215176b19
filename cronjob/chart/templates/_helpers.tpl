{{- define "image-census.labels" -}}
app.kubernetes.io/name: image-census
{{- end -}}

{{- define "image-census.metadata" -}}
name: image-census
namespace: {{ .Release.Namespace }}
labels:
  {{- include "image-census.labels" . | nindent 2 }}
{{- end -}}

{{- define "image-census.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- /* What every pod of ours has: the restricted standard, and no variables of Services. */ -}}
{{- define "image-census.pod" -}}
restartPolicy: Never
# A Service of this name would set IMAGE_CENSUS_... variables, which are settings here.
enableServiceLinks: false
nodeSelector:
  kubernetes.io/os: linux
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "image-census.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
