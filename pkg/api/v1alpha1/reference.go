package v1alpha1

// No kind holds a secret. Fields of these types say where one is; whoever may read the policy need not be able to read it.

// SecretKeyRef names one entry of a Secret in the policy's own namespace.
type SecretKeyRef struct {
	// The name of the Secret.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// The entry of its data.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key"`
}

// ConfigMapKeyRef names one entry of a ConfigMap in the policy's own namespace.
type ConfigMapKeyRef struct {
	// The name of the ConfigMap.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// The entry of its data.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key"`
}

// BackendRef names a port of a Service or ServiceEntry, reached through the mesh.
//
// +kubebuilder:validation:XValidation:rule="(has(self.group) ? self.group : \"\") == (has(self.kind) && self.kind == 'ServiceEntry' ? 'networking.istio.io' : \"\")",message="group must be empty for a Service and networking.istio.io for a ServiceEntry",fieldPath=".group"
type BackendRef struct {
	// The API group: empty for Service, networking.istio.io for ServiceEntry.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`

	// Service or ServiceEntry. Default Service.
	//
	// +optional
	// +kubebuilder:default=Service
	// +kubebuilder:validation:Enum=Service;ServiceEntry
	Kind string `json:"kind,omitempty"`

	// The name of the object.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// The namespace of the object. Default: the policy's own. Another one needs a ReferenceGrant there.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// The port of the service, 1 to 65535.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
}

// Endpoint is something that the waypoint calls over HTTP: a service of the mesh, or an https URL.
//
// +kubebuilder:validation:XValidation:rule="has(self.url) != has(self.backendRef)",message="exactly one of url and backendRef"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || has(self.backendRef)",message="path belongs to backendRef: a url has its own",fieldPath=".path"
// +kubebuilder:validation:XValidation:rule="!has(self.caCertificates) || has(self.url)",message="caCertificates belongs to url: the mesh verifies a backendRef",fieldPath=".caCertificates"
type Endpoint struct {
	// An https URL. Redirects are not followed, and addresses of the node, of link-local and of loopback networks are refused.
	//
	// +optional
	URL HTTPSURL `json:"url,omitempty"`

	// A service of the mesh.
	//
	// +optional
	BackendRef *BackendRef `json:"backendRef,omitempty"`

	// The path at the backendRef, with its query. Default /.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^/[^\s#]*$`
	Path string `json:"path,omitempty"`

	// PEM bundles that the certificate at the url is verified with, instead of the system's roots.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	CACertificates []ConfigMapKeyRef `json:"caCertificates,omitempty"`

	// How long one call may take, 10ms to 60s. Default 5s.
	//
	// +optional
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10ms') && duration(self) <= duration('60s')",message="timeout must be between 10ms and 60s"
	Timeout Duration `json:"timeout,omitempty"`
}
