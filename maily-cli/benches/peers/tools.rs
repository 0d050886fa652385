//! Who is measured.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Bare,
    Mailyctl,
    /// `plan` with a dry run of every changed object, then `apply`.
    MailyctlPlan,
    Kubectl,
    Helm,
    /// Without its throttle of its own requests.
    HelmRaised,
}

impl Tool {
    pub(crate) const ALL: [Self; 6] =
        [Self::Bare, Self::Mailyctl, Self::MailyctlPlan, Self::Kubectl, Self::Helm, Self::HelmRaised];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Mailyctl => "mailyctl",
            Self::MailyctlPlan => "mailyctl-plan",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::HelmRaised => "helm-raised",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }
}
