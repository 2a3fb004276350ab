//! What Lighthouse sends of a webhook, as far as the mapper reads it: go-scm's structs (`scm/webhook.go`,
//! `scm/repo.go`, `scm/pr.go`, `scm/issue.go`) with the names of their Go fields.

use span_mapper_sdk::read::{Boolean, Integer, Presence, Text};
use span_mapper_sdk::record;

/// What is read.
pub const FIELDS: [&str; 48] = [
    "/Action",
    "/Ref",
    "/Before",
    "/After",
    "/Compare",
    "/Repo/Namespace",
    "/Repo/Name",
    "/Repo/FullName",
    "/Repo/Clone",
    "/Repo/Link",
    "/Sender/Login",
    "/Label/Name",
    "/PullRequest/Number",
    "/PullRequest/Title",
    "/PullRequest/Sha",
    "/PullRequest/Source",
    "/PullRequest/Target",
    "/PullRequest/Link",
    "/PullRequest/Closed",
    "/PullRequest/Draft",
    "/PullRequest/Merged",
    "/PullRequest/Updated",
    "/PullRequest/Author/Login",
    "/PullRequest/Base/Ref",
    "/PullRequest/Base/Sha",
    "/PullRequest/Base/Repo/Namespace",
    "/PullRequest/Base/Repo/Name",
    "/PullRequest/Base/Repo/Link",
    "/PullRequest/Base/Repo/Clone",
    "/PullRequest/Head/Ref",
    "/PullRequest/Head/Sha",
    "/Issue/Number",
    "/Issue/Title",
    "/Issue/Link",
    "/Issue/Closed",
    "/Issue/PullRequest",
    "/Issue/Updated",
    "/Issue/Author/Login",
    "/Comment/Link",
    "/Comment/Created",
    "/Comment/Updated",
    "/Comment/Author/Login",
    "/Review/State",
    "/Review/Link",
    "/Review/Created",
    "/Review/Updated",
    "/Review/Author/Login",
    "/GUID",
];

record! {
    pub struct Payload<'a> {
        pub action: Text<'a> = "Action",
        pub reference: Text<'a> = "Ref",
        pub before: Text<'a> = "Before",
        pub after: Text<'a> = "After",
        pub compare: Text<'a> = "Compare",
        pub repository: Repository<'a> = "Repo",
        pub sender: User<'a> = "Sender",
        pub label: Label<'a> = "Label",
        pub pull_request: PullRequest<'a> = "PullRequest",
        pub issue: Issue<'a> = "Issue",
        pub comment: Comment<'a> = "Comment",
        pub review: Comment<'a> = "Review",
        pub guid: Text<'a> = "GUID",
    }

    pub struct Repository<'a> {
        pub namespace: Text<'a> = "Namespace",
        pub name: Text<'a> = "Name",
        pub full_name: Text<'a> = "FullName",
        pub clone: Text<'a> = "Clone",
        pub link: Text<'a> = "Link",
    }

    pub struct User<'a> {
        pub login: Text<'a> = "Login",
    }

    pub struct Label<'a> {
        pub name: Text<'a> = "Name",
    }

    pub struct PullRequest<'a> {
        pub number: Integer = "Number",
        pub title: Text<'a> = "Title",
        pub revision: Text<'a> = "Sha",
        /// Branch of the change.
        pub source: Text<'a> = "Source",
        /// Branch that it is to be merged into.
        pub target: Text<'a> = "Target",
        pub link: Text<'a> = "Link",
        pub closed: Boolean = "Closed",
        pub draft: Boolean = "Draft",
        pub merged: Boolean = "Merged",
        pub updated: Text<'a> = "Updated",
        pub author: User<'a> = "Author",
        pub base: Branch<'a> = "Base",
        pub head: Branch<'a> = "Head",
    }

    pub struct Branch<'a> {
        pub reference: Text<'a> = "Ref",
        pub revision: Text<'a> = "Sha",
        pub repository: Repository<'a> = "Repo",
    }

    pub struct Issue<'a> {
        pub number: Integer = "Number",
        pub title: Text<'a> = "Title",
        pub link: Text<'a> = "Link",
        pub closed: Boolean = "Closed",
        /// Whether it is a pull request.
        pub pull_request: Presence = "PullRequest",
        pub updated: Text<'a> = "Updated",
        pub author: User<'a> = "Author",
    }

    pub struct Comment<'a> {
        pub state: Text<'a> = "State",
        pub link: Text<'a> = "Link",
        pub created: Text<'a> = "Created",
        pub updated: Text<'a> = "Updated",
        pub author: User<'a> = "Author",
    }
}
