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
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
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

{{- /* What both pods need to reach the store. */ -}}
{{- define "image-census.env" -}}
{{- if .Values.volume.enabled }}
- name: IMAGE_CENSUS_STORE
  value: /reports
{{- end }}
{{- if .Values.caBundleConfigMap }}
- name: SSL_CERT_FILE
  value: /etc/image-census/ca-bundle/ca.pem
{{- end }}
{{- end -}}

{{- define "image-census.volumeMounts" -}}
{{- if .Values.volume.enabled }}
- name: reports
  mountPath: /reports
{{- end }}
{{- if .Values.caBundleConfigMap }}
- name: ca-bundle
  mountPath: /etc/image-census/ca-bundle
  readOnly: true
{{- end }}
{{- end -}}

{{- define "image-census.volumes" -}}
{{- if .Values.volume.enabled }}
- name: reports
  persistentVolumeClaim:
    claimName: image-census-reports
{{- end }}
{{- with .Values.caBundleConfigMap }}
- name: ca-bundle
  configMap:
    name: {{ . }}
{{- end }}
{{- end -}}
