//! Why a container waits. Some reasons mean that it will not go on by itself.

/// What a container fails at while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its image cannot be pulled.
    Pull,
    /// It cannot be created.
    Create,
    /// It cannot be started, or ends again and again.
    Start,
}

/// What a container fails at that waits for this reason: kubernetes `pkg/kubelet/images/types.go`,
/// `pkg/kubelet/kuberuntime/kuberuntime_container.go`, `pkg/kubelet/container/sync_result.go`.
pub fn trouble(reason: &str) -> Option<Trouble> {
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some(Trouble::Pull),
        "CreateContainerConfigError" | "CreateContainerError" | "PreCreateHookError" => {
            Some(Trouble::Create)
        }
        "RunContainerError" | "PreStartHookError" | "PostStartHookError" | "CrashLoopBackOff" => {
            Some(Trouble::Start)
        }
        _ => None,
    }
}
