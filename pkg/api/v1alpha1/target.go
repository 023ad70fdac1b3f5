package v1alpha1

// TargetRef names an object in the policy's own namespace. There is no field for another namespace: nobody restricts, or
// opens, what somebody else owns.
//
// +kubebuilder:validation:XValidation:rule="(has(self.group) ? self.group : \"\") == (self.kind == 'ServiceEntry' ? 'networking.istio.io' : self.kind == 'Gateway' ? 'gateway.networking.k8s.io' : \"\")",message="group must be empty for a Service, networking.istio.io for a ServiceEntry and gateway.networking.k8s.io for a Gateway",fieldPath=".group"
type TargetRef struct {
	// The API group: empty for Service, networking.istio.io for ServiceEntry, gateway.networking.k8s.io for Gateway.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`

	// Service, ServiceEntry or Gateway. A Gateway stands for everything behind that waypoint.
	//
	// +required
	// +kubebuilder:validation:Enum=Service;ServiceEntry;Gateway
	Kind string `json:"kind"`

	// The name of the object: at most 253 characters.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}
